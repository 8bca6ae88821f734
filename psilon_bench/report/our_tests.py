"""The tests of our methods, as published numbers are compared with them: of the chosen settings, and of ensembles.

Which test rows a run has is its fold: OpenML's where the record says so (dataset.splits=openml), else the last whole
number in the value of a key that the user names: 3 of dataset.split=splits/boston_3.csv. None: nothing says it.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from psilon_bench.errors import UsageError, shown
from psilon_bench.records import places
from psilon_bench.report.escaping import visible
from psilon_bench.report.grouping import RunGroup
from psilon_bench.report.records import Run
from psilon_bench.report.selection import Choice

ENSEMBLE = "ensemble"
TIME = "time/fit_s"
GIVEN = ("dataset.split", "dataset.splits")  # keys that say which rows are test rows

Seconds = dict[tuple[str, str, str | None], float]  # by data set of the report, method and fold


@dataclass(frozen=True)
class OurTest:
    """Metrics of one network, baseline or ensemble on test rows.

    label: the data set in the report. names: what it may be called elsewhere, the likeliest first. is_given: whether
    the test rows were named by a file, a column or OpenML, instead of drawn.
    """

    label: str
    names: tuple[str, ...]
    method: str
    kind: str
    fold: str | None
    is_given: bool
    metrics: dict[str, float]


@dataclass(frozen=True)
class OurTests:
    """All tests of a report, and the seconds of training that each method spent on each fold.

    These are of all its runs, of every setting and seed: what a choice among settings costs.
    """

    tests: list[OurTest]
    seconds: Seconds
    fold_key: str | None
    untested: list[str] = field(default_factory=list)  # methods on data sets


def our_tests(choices: Sequence[Choice], fold_key: str | None = None) -> OurTests:
    """Return the tests of the chosen settings; UsageError where the key of the fold leads to no number."""
    tests = [
        tested_run(choice.group, run, fold_key) for choice in choices if choice.setting for run in choice.setting.tested
    ]
    seconds: Seconds = defaultdict(float)
    for choice in choices:
        for fold, spent in seconds_by_fold(choice.group.every_run, fold_key).items():
            seconds[choice.group.dataset, choice.group.method, fold] = spent
    tested = {(test.method, test.label) for test in tests}
    every = [(choice.group.method, choice.group.dataset) for choice in choices]
    untested = [f"{method} on {dataset}" for method, dataset in every if (method, dataset) not in tested]
    return OurTests(tests, dict(seconds), fold_key, untested)


def with_ensembles(ours: OurTests, choices: Sequence[Choice], folder: Path, datasets: Iterable[str]) -> OurTests:
    """Return the tests with those of the ensembles of these data sets, in the folder of the report's records.

    The seconds of an ensemble are those of all networks of its data set, which it was chosen from.
    """
    from psilon_bench.report.ensemble_scores import ensemble_scores  # torch

    tests, seconds = list(ours.tests), dict(ours.seconds)
    for dataset in dict.fromkeys(datasets):
        groups = [choice.group for choice in choices if choice.group.dataset == dataset]
        networks = [run for group in groups for run in group.every_run if not run.is_baseline]
        metrics = ensemble_scores(places.ensemble_folder(folder, dataset))
        first = next(run for run in networks if run.status == "finished")
        like = tested_run(groups[0], first, ours.fold_key)
        tests.append(OurTest(dataset, like.names, ENSEMBLE, like.kind, like.fold, like.is_given, metrics))
        seconds[dataset, ENSEMBLE, like.fold] = math.fsum(seconds_by_fold(networks, ours.fold_key).values())
    return replace(ours, tests=tests, seconds=seconds)


def tested_run(group: RunGroup, run: Run, fold_key: str | None) -> OurTest:
    """Return the test of one run of a group."""
    is_given = any(run.params.get(key) is not None for key in GIVEN)
    fold = fold_of_run(run, fold_key)
    return OurTest(group.dataset, names_of(run), group.method, group.kind, fold, is_given, run.metrics)


def names_of(run: Run) -> tuple[str, ...]:
    """Return the names of a run's data set: that of its content, the option's, and its file's less the ending."""
    path = run.params.get("dataset.path")
    names = (run.dataset, str(run.params.get("dataset.name")), PurePath(str(path)).stem if path else "")
    return tuple(dict.fromkeys(filter(None, names)))


def fold_of_run(run: Run, key: str | None) -> str | None:
    """Return which test rows a run has, None where nothing says it; UsageError for a key without a number."""
    if key is not None:
        value = run.params.get(key)
        numbers = re.findall(r"[0-9]+", PurePath(str(value)).stem)
        if not numbers:
            raise UsageError(
                f"--against-fold {key} must have a value with the number of a split, such as split_3.csv, but it is "
                f"{shown(value)} in {visible(run.folder.name)}. Take another key, such as dataset.split."
            )
        return str(int(numbers[-1]))
    if run.params.get("dataset.splits") is None:
        return None
    fold, repeat = run.params.get("dataset.test_fold"), run.params.get("dataset.test_repeat")
    return f"repeat {repeat} fold {fold}" if repeat else str(fold)


def seconds_by_fold(runs: Iterable[Run], fold_key: str | None) -> dict[str | None, float]:
    """Return the sum of the training times of runs, by fold."""
    spent: dict[str | None, list[float]] = defaultdict(list)
    for run in {run.folder: run for run in runs if TIME in run.metrics}.values():
        spent[fold_of_run(run, fold_key)].append(run.metrics[TIME])
    return {fold: math.fsum(times) for fold, times in spent.items()}
