"""Numbers on one scale, which the training rows decide; missing ones are replaced by the median first.

standard    z = (v - mean) / standard deviation
robust      z = s / sqrt(1 + (s / 3)^2) with s = (v - median) / (q_75 - q_25), between -3 and 3: robust scaling and
            smooth clipping (Holzmueller, Grinsztajn & Steinwart 2024, Better by default, NeurIPS, section 3). Where the
            quartiles are equal, half the range of the column takes the place of their difference.

As |dz/ds| <= 1, a bound on what moves by one unit of z bounds what moves by one unit of s, too. The fitted numbers are
plain data, which JSON keeps to the last bit.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from psilon_bench.data.quantiles import weighted_quantiles

PositiveFloat = Annotated[float, Field(gt=0)]
ScalingName = Literal["standard", "robust"]
LIMIT = 3.0
LARGEST = 1e150  # beyond which a number is as near to the limit as float64 can tell, and its square would overflow


class FittedData(BaseModel):
    """What training rows have decided, as plain data; its types are strict and its numbers are finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Scaling(FittedData):
    """The standardised number z = (v - mean) / scale."""

    mean: float
    scale: PositiveFloat


class Imputed(Scaling):
    """The standardised number, with `fill` in the place of a missing v; between -limit and limit where that is set."""

    fill: float
    limit: PositiveFloat | None = None


class ScaleOverflow(ValueError):
    """The mean or the standard deviation of a column is infinite; `column` is its place."""

    def __init__(self, column: int) -> None:
        super().__init__(f"column {column} is too large to be standardised")
        self.column = column


def fit_scaling(
    raw: np.ndarray, weights: np.ndarray | None, scaling: ScalingName = "standard"
) -> tuple[list[Imputed], list[Scaling | None]]:
    """Return what scales columns of numbers (rows, columns), NaN where missing, and their indicators.

    An indicator is 1 where its column lacks a value and 0 elsewhere; it is None where no row lacks one. With weights
    (rows,), all above 0, a row of weight 2 counts like two equal rows. Raises ScaleOverflow for numbers whose mean or
    standard deviation is infinite.
    """
    absent = np.isnan(raw)
    assert not absent.all(axis=0).any(), "constant_columns leaves no column without a value"
    fills = np.array([_median(column, weights) for column in raw.T])
    marked = absent.any(axis=0)
    filled, limit = np.where(absent, fills, raw), None
    means, scales = moments(np.hstack([filled, absent[:, marked].astype(float)]), weights)
    if scaling == "robust":
        means[: filled.shape[1]], scales[: filled.shape[1]] = quartiles(filled, weights)
        limit = LIMIT
    finite = np.isfinite(means) & np.isfinite(scales)
    if not finite.all():
        raise ScaleOverflow(int(finite.argmin()))
    scalings = [Scaling(mean=mean, scale=scale) for mean, scale in zip(means.tolist(), scales.tolist(), strict=True)]
    pairs = zip(fills.tolist(), scalings, strict=False)
    indicators = iter(scalings[raw.shape[1] :])
    return (
        [Imputed(fill=fill, mean=one.mean, scale=one.scale, limit=limit) for fill, one in pairs],
        [next(indicators) if mark else None for mark in marked],
    )


def _median(column: np.ndarray, weights: np.ndarray | None) -> float:
    """Return the median of the values (rows,) that are not missing."""
    there = ~np.isnan(column)
    if weights is None:
        return float(np.median(column[there]))
    return float(weighted_quantiles(column[there], [0.5], weights[there])[0])


def moments(values: np.ndarray, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation (columns,) of values (rows, columns); the latter is 1 for constant columns.

    By the corrected two-pass algorithm of Chan, Golub & LeVeque 1983, The American Statistician 37:242,
    Var = (sum w d^2 - (sum w d)^2 / W) / W with d = v - mean and W = sum w. A column is constant where its variance is
    within the rounding error of that algorithm, W eps Var + (W eps mean)^2, as in scikit-learn's StandardScaler.
    """
    total = len(values) if weights is None else weights.sum()
    means = _sums(values, weights) / total
    deviations = values - means
    squares = _sums(deviations**2, weights) - _sums(deviations, weights) ** 2 / total
    variances = squares / total
    eps = np.finfo(np.float64).eps
    constant = variances <= total * eps * variances + (total * means * eps) ** 2
    return means, np.where(constant, 1.0, np.sqrt(np.maximum(variances, 0)))


def quartiles(values: np.ndarray, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the median and the difference of the quartiles (columns,) of values (rows, columns).

    Half the range takes the place of a difference of 0, and 1 that of a range of 0.
    """
    ranks = (0.25, 0.5, 0.75)
    if weights is None:
        first, median, third = np.quantile(values, ranks, axis=0)
    else:
        first, median, third = np.array([weighted_quantiles(column, ranks, weights) for column in values.T]).T
    half = (values.max(axis=0) - values.min(axis=0)) / 2
    spread = np.where(third > first, third - first, half)
    return median, np.where(spread > 0, spread, 1.0)


def _sums(values: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Return the sum of each column (columns,), weighted where rows have weights."""
    return np.asarray(values.sum(axis=0) if weights is None else weights @ values)


def standardised(values: np.ndarray, scalings: Sequence[Scaling]) -> np.ndarray:
    """Return columns of numbers (rows, columns), none of which are missing, as their scalings have them."""
    means, scales = np.array([[s.mean, s.scale] for s in scalings]).reshape(-1, 2).T
    with np.errstate(over="ignore"):  # data.overflow looks for what has become infinite
        return (values - means) / scales


def imputed(raw: np.ndarray, columns: Sequence[Imputed]) -> np.ndarray:
    """Return columns of numbers (rows, columns), NaN where missing, imputed and scaled."""
    scaled = standardised(np.where(np.isnan(raw), [column.fill for column in columns], raw), columns)
    limited = [place for place, column in enumerate(columns) if column.limit is not None]
    if limited:
        scaled[:, limited] = clipped(scaled[:, limited], np.array([columns[place].limit for place in limited]))
    return scaled


def clipped(values: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Return s / sqrt(1 + (s / limit)^2) for values s (rows, columns) and limits (columns,)."""
    bounded = np.clip(values, -LARGEST, LARGEST)
    return np.asarray(bounded / np.sqrt(1 + (bounded / limits) ** 2))
