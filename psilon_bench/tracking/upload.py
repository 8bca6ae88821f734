"""Sends records to MLflow: those that have ended together where that is faster, the others each by its mirror."""

from collections.abc import Callable
from pathlib import Path

from filelock import Timeout

from psilon_bench.tracking.bulk import send_ended
from psilon_bench.tracking.experiment import Experiment
from psilon_bench.tracking.mirror import Mirror
from psilon_bench.tracking.server import answers, short_reason

Mirrors = dict[Path, Mirror]
MOST_LIVE = 10  # of the runs that still train; each costs 30 to 45 ms of the CPU they train on


def send_all(
    experiment: Experiment, mirrors: Mirrors, at_end: bool, show_left: Callable[[int], None]
) -> tuple[Mirrors, str | None]:
    """Bring all records up to date; return those still to be sent, and the first problem.

    Where the server is out, the others wait. Of the runs that still train, at most MOST_LIVE are looked at in one call,
    and the same ones come last in the next. `show_left` is called with the number of records that are still to be sent.
    """
    left, problem = dict(mirrors), None
    try:
        for folder in send_ended(experiment, left, at_end):
            del left[folder]
            show_left(len(left))
    except Exception as error:  # whatever a server, a proxy or a database may raise
        problem = short_reason(error)
        if is_out(experiment, error):
            return left, problem
    training = [] if at_end else [folder for folder, mirror in left.items() if mirror.still_runs()]
    later = set(training[MOST_LIVE:])
    for folder in training[:MOST_LIVE]:
        left[folder] = left.pop(folder)
    for folder, mirror in list(left.items()):
        if folder in later:
            continue
        show_left(len(left))
        try:
            if mirror.send(at_end):
                del left[folder]
        except Exception as error:  # as above, and whatever is odd about a record
            problem = problem or short_reason(error)
            if is_out(experiment, error):
                break
    return left, problem


def is_out(experiment: Experiment, error: Exception) -> bool:
    """Return whether the other records would fare no better."""
    return isinstance(error, Timeout) or not answers(experiment.uri)
