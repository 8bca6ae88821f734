"""The test metric of ours that a published metric is compared with, and how its numbers become ours."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from psilon_bench.errors import UsageError
from psilon_bench.report.metric import Metric, direction_of

REGRESSION, CLASSES = ("regression",), ("binary", "multiclass")
COMPLEMENT = "1 - "  # before the name of a score
ERRORS = "metric_error"  # a column in which less is better: 1 - score, for scores of which more is better


@dataclass(frozen=True)
class Counterpart:
    """A test metric of ours, the kinds of task that have it under the published name, and the least and largest value.

    is_complement: whether the published number is 1 - ours.
    """

    test: str
    kinds: tuple[str, ...]
    least: float = 0.0
    largest: float = float("inf")
    is_complement: bool = False

    @property
    def metric(self) -> Metric:
        """Return the metric with its direction."""
        return Metric(self.test, direction_of(self.test))

    def ours(self, value: float) -> float:
        """Return a published number as a number of ours."""
        return 1 - value if self.is_complement else value


# by the published name; the first of these that a data set has stands for it across data sets. Of a regression
# test/loss is in scaled units, which nobody publishes; of classes it is the cross-entropy
COUNTERPARTS = {
    "rmse": Counterpart("test/rmse", REGRESSION),
    "mae": Counterpart("test/mae", REGRESSION),
    "r2": Counterpart("test/r2", REGRESSION, least=float("-inf"), largest=1),
    "accuracy": Counterpart("test/accuracy", CLASSES, largest=1),
    "error": Counterpart("test/accuracy", CLASSES, largest=1, is_complement=True),
    "balanced_accuracy": Counterpart("test/balanced_accuracy", CLASSES, largest=1),
    "f1_macro": Counterpart("test/f1", CLASSES, largest=1),
    "log_loss": Counterpart("test/loss", CLASSES),
    "roc_auc": Counterpart("test/roc_auc", CLASSES, largest=1),
}


def counterpart(name: str, column: str) -> Counterpart | None:
    """Return what a published metric is compared with; None where no metric of ours is the same.

    column: the name of the column that has the values, `metric_error` where all of them are errors. A name may say so
    itself: `error`, and `1 - roc_auc`.
    """
    found = COUNTERPARTS.get(name.removeprefix(COMPLEMENT))
    if found is None or found.is_complement:
        return COUNTERPARTS.get(name)
    is_complement = name.startswith(COMPLEMENT) or (column == ERRORS and found.metric.direction == "max")
    return Counterpart(found.test, found.kinds, found.least, found.largest, is_complement)


def order_of(name: str) -> tuple[int, str]:
    """Return a sorting key that puts published metrics in the order of COUNTERPARTS, and those without one last."""
    known = list(COUNTERPARTS)
    plain = name.removeprefix(COMPLEMENT)
    return known.index(plain) if plain in known else len(known), name


def check_value(value: float, name: str, column: str, place: str) -> None:
    """Raise UsageError for a number that a metric cannot have, such as an accuracy in per cent."""
    found = counterpart(name, column)
    if found is not None and not found.least <= found.ours(value) <= found.largest:
        is_share = found.largest == 1 and value > 1
        rule = f"from {found.least:g} to {found.largest:g}" if found.largest == 1 else f"of at least {found.least:g}"
        raise UsageError(
            f"{place}: {column} of {name} must lead to a number {rule}, but it is {value:g}. "
            f"{'Give fractions instead of per cent' if is_share else 'Correct it'}."
        )


def check_areas(areas: Iterable[float], place: str, column: str) -> None:
    """Raise UsageError where most areas under the ROC curve are below that of guessing: scores taken for errors."""
    areas = list(areas)
    if areas and median(areas) < 0.5:
        raise UsageError(
            f"{place}: the areas under the ROC curve in {column} must be those of methods better than guessing, but "
            f"their median is {median(areas):.3g}. {ERRORS} has 1 - area, value has the area: rename the column."
        )
