"""The best finished run of a sweep, for who wants its network: chosen as a report chooses, by the same numbers."""

from collections.abc import Sequence
from pathlib import Path

from psilon_bench.errors import UsageError
from psilon_bench.report.estimate import rounded
from psilon_bench.report.grouping import groups_of
from psilon_bench.report.metric import Metric
from psilon_bench.report.records import Run, scan
from psilon_bench.report.selection import Choice, choose

METRIC = Metric("val/loss", "min")


def best_run(folder: Path) -> tuple[Path, str]:
    """Return the folder of the best run below a folder, and a line that says which it is and why.

    The setting has the smallest mean validation loss of all methods (see `selection`); of its runs, one a seed, it is
    the one with the smallest validation loss. Of a cross-validation it is the first refit of that setting,
    which trained on the validation rows too. Raises UsageError where there is no finished network, and for several
    data sets.
    """
    groups, _ = groups_of([run for run in scan([folder]).runs if not run.is_baseline])
    choices = [choice for choice in (choose(group, METRIC) for group in groups) if choice.setting]
    check_one_data_set(folder, choices)
    scored = [choice for choice in choices if choice.validation]
    best = min(scored or choices, key=mean_loss)
    assert best.setting is not None
    if not best.setting.tested:
        raise UsageError(
            f"{best.group.method} {best.setting.text} in {folder} has no finished refit. Train it: cv_refit=1."
        )
    run = min(best.setting.tested, key=loss_of)
    return run.folder, f"{run.folder} is the best of {len(choices_runs(choices))} finished runs: {why_this(best, run)}"


def check_one_data_set(folder: Path, choices: Sequence[Choice]) -> None:
    """Raise UsageError unless the finished networks are of one data set."""
    datasets = list(dict.fromkeys(choice.group.dataset for choice in choices))
    if len(datasets) > 1:
        raise UsageError(
            f"A network predicts one data set, but {folder} has runs on {len(datasets)}: {', '.join(datasets)}. "
            "Name the folder of a run."
        )
    if not datasets:
        raise UsageError(f"{folder} has no finished run of a network with a validation loss. Name another folder.")


def choices_runs(choices: Sequence[Choice]) -> list[Run]:
    """Return the finished runs behind choices."""
    return [run for choice in choices for run in choice.group.runs]


def mean_loss(choice: Choice) -> float:
    """Return what a choice was made by; infinity for refits, by which nothing is chosen."""
    return choice.validation.mean if choice.validation else float("inf")


def loss_of(run: Run) -> float:
    """Return the validation loss of a run; 0 for refits, of which the first is taken."""
    return run.metrics.get(METRIC.name, 0.0)


def why_this(choice: Choice, run: Run) -> str:
    """Return in words why this run was taken."""
    assert choice.setting is not None
    method = f"{choice.group.method} {choice.setting.text}"
    if choice.validation is None:
        return f"{method}, a refit"
    mean = f"{METRIC.name} {rounded(choice.validation.mean)}"
    if choice.group.is_cross_validated:
        return f"{method} has the smallest out-of-fold {mean}; seed {run.seed} of its refits"
    seeds = len(choice.setting.tested)
    of_seeds = f" on average over {seeds} seeds, and of these seed {run.seed} ({rounded(loss_of(run))})"
    return f"{method} has the smallest {mean}{of_seeds if seeds > 1 else ''}"
