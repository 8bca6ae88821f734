"""Our chosen settings among published numbers, each file a comparison of its own.

Data sets are matched by name: what our data are called, or else the option (dataset.name), or else the file without its
ending. A name says nothing of content, so that what a comparison rests on is said in its notes. Compared are numbers of
the same metric on the same folds; where one side has more folds, those that all of our methods have in common with the
file. What cannot be compared is listed by reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from psilon_bench.data.checks import name_list
from psilon_bench.errors import UsageError
from psilon_bench.report.compare import Across
from psilon_bench.report.counterpart import Counterpart, counterpart, order_of
from psilon_bench.report.datasets import endings
from psilon_bench.report.metric import Metric
from psilon_bench.report.our_tests import OurTest, OurTests
from psilon_bench.report.published import EXACT, Published, PublishedNumber
from psilon_bench.report.standings import OURS, Fold, Ledger, Standings, standings_by


@dataclass(frozen=True)
class Comparison:
    """Our methods among those of a file: one entry a data set and metric, what to know, and what is left out."""

    name: str
    tag: str
    standings: list[Standings]
    notes: list[str]
    left_out: dict[str, list[str]]  # by reason

    @cached_property
    def first(self) -> list[Standings]:
        """Return the standings by the metric of each data set that COUNTERPARTS has first; they stand for it."""
        return list({one.dataset: one for one in reversed(self.standings)}.values())[::-1]

    @cached_property
    def ours(self) -> list[str]:
        """Return the names of our methods."""
        return list(dict.fromkeys(one.method for standings in self.first for one in standings.ours))

    @cached_property
    def across(self) -> Across:
        """Return the costs of the methods that are on all data sets."""
        costs = pd.DataFrame({one.dataset: one.costs for one in self.first}).T
        return Across(Metric("cost", "min"), costs.dropna(axis=1), [])

    @cached_property
    def incomplete(self) -> list[str]:
        """Return the methods that are not on all data sets."""
        there = {one.method for standings in self.first for one in standings.every}
        return sorted(there - set(self.across.scores.columns))

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Return the scores, data sets x methods that are on all of them."""
        every = pd.DataFrame({one.dataset: one.scores for one in self.first}).T
        return every[list(self.across.scores.columns)]

    @cached_property
    def seconds(self) -> pd.Series:
        """Return the mean seconds over data sets of the methods whose times are known on all of them."""
        times = pd.DataFrame({s.dataset: {one.method: one.seconds for one in s.every} for s in self.first}, dtype=float)
        return times.loc[list(self.across.scores.columns)].dropna().mean(axis=1)


def compare_with(published: Published, ours: OurTests, name: str = "", tag: str = "") -> Comparison:
    """Return our methods among those of a file; name, tag: what tells it from other files, in words and in file names.

    Raises UsageError where no data set or no metric is in common, and where several data sets of ours have the name of
    a published one.
    """
    ledger = Ledger()
    ledger.leave(f"a published method has no {published.column}", published.without_value)
    ledger.leave("a method of ours was not tested", ours.untested)
    check_names(published)
    matched = matched_tests(published, ours, ledger)
    found: list[Standings] = []
    bases: dict[str, list[str]] = {}
    for dataset, tests in matched.items():
        own = standings_on(dataset, published, tests, ours, ledger)
        found += own
        if own and (basis := basis_of_rows(tests, ours.fold_key)):
            bases.setdefault(basis, []).append(dataset)
    if not found:
        reasons = "; ".join(ledger.left_out)
        raise UsageError(f"--against {published.path}: none of its numbers can be compared with ours ({reasons}).")
    notes = [*(f"{name_list(own)}: {basis}." for basis, own in bases.items()), *dict.fromkeys(ledger.notes)]
    made = Comparison(name, tag, found, notes, ledger.left_out)
    ledger.leave(f"a method that is not on all {len(made.first)} data sets has no mean rank", made.incomplete)
    return made


def compare_all(files: Sequence[Published], ours: OurTests) -> list[Comparison]:
    """Return a comparison with each file; UsageError as of compare_with."""
    paths = {str(one.path): str(one.path.absolute()) for one in files}
    if len(files) == 1:
        return [compare_with(files[0], ours)]
    names = endings(paths)
    return [compare_with(one, ours, names[str(one.path)], f"_{number}") for number, one in enumerate(files, start=1)]


def check_names(published: Published) -> None:
    """Raise UsageError for a method that is called as one of ours would be."""
    for number in published.numbers:
        if number.method.endswith(OURS):
            raise UsageError(f"--against {published.path}: the method {number.method} is named as ours are. Rename it.")


def matched_tests(published: Published, ours: OurTests, ledger: Ledger) -> dict[str, list[OurTest]]:
    """Return our tests by the name of a published data set; UsageError for none, and for several of one name."""
    theirs = set(published.datasets)
    matched: dict[str, list[OurTest]] = {}
    for test in ours.tests:
        name = next((name for name in test.names if name in theirs), None)
        if name is not None:
            matched.setdefault(name, []).append(test)
    if not matched:
        called = list(dict.fromkeys(test.names[0] for test in ours.tests))
        raise UsageError(
            f"--against {published.path}: it has no data set of ours, {name_list(called) or 'which has no test'}. "
            f"It has {name_list(published.datasets)}. Give one of them the name of the other (dataset.name=NAME)."
        )
    for name, tests in matched.items():
        check_one_data_set(name, tests, published.path)
    found = {test.label for tests in matched.values() for test in tests}
    ledger.leave(
        "a data set of ours that the file lacks", dict.fromkeys(t.label for t in ours.tests if t.label not in found)
    )
    ledger.leave("a data set of the file that we lack", (name for name in published.datasets if name not in matched))
    return matched


def check_one_data_set(name: str, tests: Sequence[OurTest], path: Path) -> None:
    """Raise UsageError where several data sets of ours have one name and are not told apart by their folds."""
    labels: dict[Fold, set[str]] = {}
    for test in tests:
        labels.setdefault(test.fold, set()).add(test.label)
    for fold, own in labels.items():
        if len(own) > 1 or (fold is None and len(labels) > 1):
            every = sorted({test.label for test in tests} if fold is None else own)
            whose = "Are they splits of it? Then say --against-fold KEY, such as dataset.split"
            if fold is not None:
                whose = f"All of them are split {fold}, by the last whole number; name their files by their splits"
            raise UsageError(
                f"--against {path}: one data set of ours must be named {name}, not {len(every)}: "
                f"{name_list(every, 3)}. {whose}; else report one at a time."
            )


def basis_of_rows(tests: Sequence[OurTest], fold_key: str | None) -> str:
    """Return what the equality of test rows rests on, in words; an empty text where our records tell it."""
    if not all(test.is_given for test in tests):
        return (
            "our test rows were drawn, so they are others than the published ones, and ranks are rough; "
            "bring the published split: dataset.split=FILE"
        )
    if fold_key is not None:
        return f"that our rows of a split are the published ones rests on {fold_key}, from which its number is read"
    unknown = any(test.fold is None for test in tests)
    return "that our test rows are the published ones is not proved, for no record says so" if unknown else ""


def standings_on(
    dataset: str, published: Published, tests: Sequence[OurTest], ours: OurTests, ledger: Ledger
) -> list[Standings]:
    """Return the standings on a data set, one for each metric that it has and we have."""
    by_metric: dict[str, list[PublishedNumber]] = {}
    for number in published.numbers:
        if number.dataset == dataset:
            by_metric.setdefault(number.metric, []).append(number)
    found: dict[str, Standings] = {}
    for metric in sorted(by_metric, key=order_of):
        numbers, ours_of = by_metric[metric], counterpart(metric, published.column)
        why = why_not(ours_of, metric, tests, found)
        if why or ours_of is None:
            ledger.leave(why, [f"{dataset} ({len(numbers)} numbers)"])
            continue
        made = standings_by(dataset, ours_of, numbers, tests, ours, ledger)
        if made is not None:
            found[ours_of.test] = made
            for number in numbers:
                if number.precision not in EXACT:
                    reason = f"compared all the same, but the file says of the number: {number.precision}"
                    ledger.leave(reason, [f"{number.method} on {dataset}"])
    return list(found.values())


def why_not(ours_of: Counterpart | None, metric: str, tests: Sequence[OurTest], found: dict[str, Standings]) -> str:
    """Return why a published metric cannot be compared; an empty text where it can."""
    if ours_of is None:
        return f"no metric of ours is {metric}"
    if tests[0].kind not in ours_of.kinds:
        return f"our data set is a task of {tests[0].kind}, which has no {metric}"
    if ours_of.test in found:
        return f"{metric} is compared already, as {ours_of.test} by another name"
    return "" if any(ours_of.test in test.metrics for test in tests) else f"our runs have no {ours_of.test}"
