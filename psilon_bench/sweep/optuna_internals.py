"""Names of Optuna outside its documented interface; `tests/sweep/test_study.py` fails when they change."""

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial


def reopened(study: Study, trial: FrozenTrial) -> Trial:
    """Return a trial that another process has left running, to go on with: it has the values that it was given.

    `Study.ask` begins a new trial, and a frozen one has no public id (optuna/trial/_frozen.py).
    """
    return Trial(study, trial._trial_id)
