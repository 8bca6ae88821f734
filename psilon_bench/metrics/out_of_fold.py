r"""The out-of-fold value of a metric: of each row that is not a test row, by the network that did not train on it.

Within a replicate (a seed, a split, a partition into folds) the value on the rows of all folds together follows from
the values v_k of the folds, of n_k validation rows each, or of the sum n_k of their weights:

    cross-entropy, accuracy, any mean over rows      v = sum_k n_k v_k / sum_k n_k
    root mean squared error (a regression's loss, rmse)  v = sqrt(sum_k n_k s_k^2 v_k^2 / sum_k n_k s_k^2)

Each fold scales its target by its own training rows; s_k are the units of the target per unit of v_k. So the loss is
the root of the mean squared error over all rows in units of the target, divided by the root of the mean of s_k^2; rmse
is in units of the target itself, s_k = 1. Of a score that is no mean over rows, such as roc_auc, r2 or f1, v is the
mean of the values of the folds, weighted by their rows.
"""

import math
import statistics
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

RMSE = "/rmse"


@dataclass(frozen=True)
class FoldValue:
    """The value of a metric on the validation rows of a fold: their number, or sum of weights, and units of the target
    per unit of it.
    """

    replicate: Hashable  # what the folds of one partition have in common
    value: float
    rows: float
    scale: float = 1.0


@dataclass(frozen=True)
class OutOfFold:
    """The mean over replicates of the out-of-fold value, the standard deviation of a fold, and the number of folds.

    n counts folds x replicates.
    """

    mean: float
    sd: float
    n: int

    @property
    def error(self) -> float:
        """Return the standard error of the mean over folds x replicates, sd / sqrt(n).

        It takes folds for independent. They share training rows, so it is too small on average (Bengio & Grandvalet
        2004, JMLR 5).
        """
        return self.sd / math.sqrt(self.n)


def out_of_fold(folds: Sequence[FoldValue], squared: bool) -> OutOfFold:
    """Return the out-of-fold value of two folds or more, all those of each replicate; squared: whether it is a RMSE."""
    replicates: dict[Hashable, list[FoldValue]] = {}
    for fold in folds:
        replicates.setdefault(fold.replicate, []).append(fold)
    pooled = [pooled_value(same, squared) for same in replicates.values()]
    return OutOfFold(statistics.fmean(pooled), statistics.stdev(fold.value for fold in folds), len(folds))


def pooled_value(folds: Sequence[FoldValue], squared: bool) -> float:
    """Return the value on the rows of these folds together, as the module says."""
    if not squared:
        return statistics.fmean([fold.value for fold in folds], [fold.rows for fold in folds])
    weights = [fold.rows * fold.scale**2 for fold in folds]
    return math.sqrt(statistics.fmean([fold.value**2 for fold in folds], weights))


def is_root(metric: str, kind: str) -> bool:
    """Tell whether a metric is a root mean squared error, as the losses of a regression are."""
    return kind == "regression" and metric.endswith(("/loss", RMSE))


def scale_of(metric: str, target_scale: float) -> float:
    """Return the units of the target per unit of a root mean squared error: target_scale for one of scaled targets."""
    return 1.0 if metric.endswith(RMSE) else target_scale
