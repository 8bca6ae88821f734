"""The methods on one data set by one metric, ours and those of a file, on the same folds.

Scores above the median are 1 for the best method and 0 for the median of all or a worse one (the normalised score of
TabArena, Erickson et al. 2025). From the worst to the best, one method that failed would bring all others together.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from psilon_bench.data.checks import name_list
from psilon_bench.report.counterpart import Counterpart
from psilon_bench.report.estimate import estimate, in_digits
from psilon_bench.report.metric import Metric
from psilon_bench.report.our_tests import OurTest, OurTests
from psilon_bench.report.published import PublishedNumber

OURS = " (ours)"

Fold = str | None
ByFold = dict[Fold, list[float]]  # the values of a method's seeds


@dataclass(frozen=True)
class Standing:
    """The value of a method on a data set; sd is that of n numbers, seconds are those of training on a fold."""

    method: str
    value: float
    sd: float | None
    n: int | None
    seconds: float | None


@dataclass(frozen=True)
class Standings:
    """All methods on one data set, by one metric on the same folds."""

    dataset: str
    metric: Metric
    ours: list[Standing]
    theirs: list[Standing]

    @property
    def every(self) -> list[Standing]:
        """Return our methods and theirs."""
        return [*self.ours, *self.theirs]

    @cached_property
    def costs(self) -> pd.Series:
        """Return value x sign of each method, less is better, in the digits by which methods are compared."""
        return pd.Series({one.method: in_digits(self.metric.sign * one.value) for one in self.every})

    @cached_property
    def ranks(self) -> pd.Series:
        """Return the rank of each method: 1 is the best; equal values share their mean rank."""
        return self.costs.rank()

    @cached_property
    def scores(self) -> pd.Series:
        """Return 1 for the best method, 0 for the median method and all that are worse, and linear between them."""
        best, median = self.costs.min(), self.costs.median()
        if median == best:
            return (self.costs == best).astype(float)
        return ((median - self.costs) / (median - best)).clip(0, 1)


@dataclass
class Ledger:
    """What is noted while a comparison is made."""

    notes: list[str] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def leave(self, reason: str, what: Iterable[str]) -> None:
        """Write down that things are left out, if there are any."""
        if listed := list(what):
            self.left_out.setdefault(reason, []).extend(listed)


def standings_by(
    dataset: str,
    ours_of: Counterpart,
    numbers: Sequence[PublishedNumber],
    tests: Sequence[OurTest],
    ours: OurTests,
    ledger: Ledger,
) -> Standings | None:
    """Return the standings by one metric, on the folds that can be compared; None where there are none."""
    own = values_by_fold(tests, ours_of.test)
    lacking = {test.method for test in tests} - set(own)
    ledger.leave(f"a method of ours has no {ours_of.test}", sorted(f"{method} on {dataset}" for method in lacking))
    theirs: dict[str, dict[Fold, PublishedNumber]] = {}
    for number in numbers:
        theirs.setdefault(number.method, {})[number.fold] = number
    our_folds, their_folds = common_folds(dataset, list(own.values()), {number.fold for number in numbers}, ledger)
    if not our_folds:
        return None
    seconds = {(test.method, test.fold): ours.seconds.get((test.label, test.method, test.fold)) for test in tests}
    mine = [
        our_standing(method, [by_fold[fold] for fold in our_folds], [seconds[method, fold] for fold in our_folds])
        for method, by_fold in own.items()
    ]
    whole = {
        method: [by_fold[fold] for fold in their_folds]
        for method, by_fold in sorted(theirs.items())
        if all(fold in by_fold for fold in their_folds)
    }
    ledger.leave("a published method lacks a split", sorted(f"{m} on {dataset}" for m in theirs if m not in whole))
    others = [their_standing(method, rows, ours_of) for method, rows in whole.items()]
    if their_folds == [None] and all(test.is_given for test in tests):  # of drawn rows another note says it
        ledger.notes += other_counts(dataset, len(our_folds), others)
    return Standings(dataset, ours_of.metric, mine, others) if others else None


def other_counts(dataset: str, ours: int, theirs: Sequence[Standing]) -> list[str]:
    """Return a note where published means are of another number of splits than ours, and so of other test rows."""
    counts = sorted({one.n for one in theirs if one.n and one.n != ours})
    own = "numbers of one split" if ours == 1 else f"means over {ours} splits"
    words = f"{dataset}: ours are {own}, theirs are means over {name_list([str(count) for count in counts])}"
    return [f"{words}, some of which may be harder: ranks are rough."] if counts else []


def values_by_fold(tests: Sequence[OurTest], metric: str) -> dict[str, ByFold]:
    """Return the values of a metric by method and fold, one for each seed."""
    values: dict[str, ByFold] = {}
    for test in tests:
        if metric in test.metrics:
            values.setdefault(test.method, {}).setdefault(test.fold, []).append(test.metrics[metric])
    return values


def common_folds(
    dataset: str, ours: Sequence[ByFold], theirs: set[Fold], ledger: Ledger
) -> tuple[list[Fold], list[Fold]]:
    """Return the folds of ours and of theirs over which means are compared; none, and a reason, where none fit."""
    shared = set.intersection(*(set(by_fold) for by_fold in ours))
    if theirs == {None}:
        if not shared:
            ledger.leave("our methods have no split in common", [dataset])
        return in_order(shared), [None]
    if shared == {None} and len(theirs) == 1:
        return [None], list(theirs)
    if None in shared:
        ledger.leave("our runs do not say on which split: --against-fold KEY", [f"{dataset} ({len(theirs)} splits)"])
        return [], []
    found = in_order(shared & theirs)
    if not found:
        ledger.leave("no split is in common", [dataset])
    elif set(found) != theirs or any(set(by_fold) != set(found) for by_fold in ours):
        names = name_list([str(fold) for fold in found])
        ledger.notes.append(
            f"{dataset}: compared on the {len(found)} splits in common ({names}), of {len(theirs)} in the file."
        )
    return found, found


def in_order(folds: Iterable[Fold]) -> list[Fold]:
    """Return folds in the order of their numbers."""
    return sorted(folds, key=lambda fold: (len(fold or ""), fold or ""))


def our_standing(method: str, values: Sequence[list[float]], seconds: Sequence[float | None]) -> Standing:
    """Return the mean over folds of the means over seeds, with the spread over folds, of one fold that over seeds."""
    means = [found.mean for own in values if (found := estimate(own))]
    found = estimate(means if len(means) > 1 else values[0])
    assert found is not None, "a fold without a value is no fold"
    return Standing(method + OURS, found.mean, found.sd, found.n, mean_seconds(seconds))


def their_standing(method: str, rows: Sequence[PublishedNumber], ours_of: Counterpart) -> Standing:
    """Return the mean over folds of published numbers, or the one number as it was published."""
    seconds = mean_seconds([row.seconds for row in rows])
    if len(rows) == 1:
        return Standing(method, ours_of.ours(rows[0].value), rows[0].sd, rows[0].n, seconds)
    found = estimate([ours_of.ours(row.value) for row in rows])
    assert found is not None
    return Standing(method, found.mean, found.sd, found.n, seconds)


def mean_seconds(seconds: Sequence[float | None]) -> float | None:
    """Return the mean of times; None where one of them is not known."""
    known = [value for value in seconds if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(seconds) else None
