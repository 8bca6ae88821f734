"""Numbers on one scale, which the training rows decide; missing ones are replaced by the median first.

standard    z = (v - mean) / standard deviation
robust      z = s / sqrt(1 + (s / 3)^2) with s = (v - median) / (q_75 - q_25), between -3 and 3: robust scaling and
            smooth clipping (Holzmueller, Grinsztajn & Steinwart 2024, Better by default, NeurIPS, section 3). Where the
            quartiles are equal, half the range of the column takes the place of their difference.
quantile    z = Phi^-1(u), piecewise linear between m <= 100 quantiles of the column, at the ranks k / (m - 1), where u
            is (k + 1/2) / m, the mean of these for equal quantiles; constant beyond them. Columns of any form become
            normal, as by scikit-learn's QuantileTransformer, which Gorishniy et al. 2021, Revisiting deep learning
            models for tabular data, NeurIPS, take. s = (v - median) / scale, with the largest scale where |dz/ds| <= 1.

As |dz/ds| <= 1, a bound on what moves by one unit of z bounds what moves by one unit of s, too. The fitted numbers are
plain data, which JSON keeps to the last bit.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from psilon_bench.data.quantiles import weighted_quantiles

Knots = tuple[tuple[float, float], ...]
PositiveFloat = Annotated[float, Field(gt=0)]
ScalingName = Literal["standard", "robust", "quantile"]
LIMIT = 3.0
MOST_KNOTS = 100  # of a column that is scaled by quantiles
ROUNDING = 1e-12  # of the distance between quartiles, and of that from the median, below which values are equal
LARGEST = 1e150  # beyond which a number is as near to the limit as float64 can tell, and its square would overflow


class FittedData(BaseModel):
    """What training rows have decided, as plain data; its types are strict and its numbers are finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Scaling(FittedData):
    """The standardised number z = (v - mean) / scale."""

    mean: float
    scale: PositiveFloat


class Imputed(Scaling):
    """The standardised number, with `fill` in the place of a missing v; between -limit and limit where that is set.

    knots: of a column that is scaled by quantiles, pairs (s, z) in rising order, between which z is linear in s.
    """

    fill: float
    limit: PositiveFloat | None = None
    knots: Knots = ()

    @property
    def curve(self) -> np.ndarray:
        """Return s and z of the knots, (2, knots)."""
        return np.array(self.knots).reshape(-1, 2).T


class ScaleOverflow(ValueError):
    """The mean, the standard deviation or a knot of a column is infinite; `column` is its place."""

    def __init__(self, column: int) -> None:
        super().__init__(f"column {column} is too large to be standardised")
        self.column = column


def fit_scaling(
    raw: np.ndarray, weights: np.ndarray | None, scaling: ScalingName = "standard"
) -> tuple[list[Imputed], list[Scaling | None]]:
    """Return what scales columns of numbers (rows, columns), NaN where missing, and their indicators.

    An indicator is 1 where its column lacks a value and 0 elsewhere; it is None where no row lacks one. With weights
    (rows,), all above 0, a row of weight 2 counts like two equal rows. Raises ScaleOverflow for numbers whose mean,
    standard deviation or knots are infinite.
    """
    absent = np.isnan(raw)
    assert not absent.all(axis=0).any(), "constant_columns leaves no column without a value"
    fills = np.array([_median(column, weights) for column in raw.T])
    marked = absent.any(axis=0)
    filled = np.where(absent, fills, raw)
    means, scales = moments(np.hstack([filled, absent[:, marked].astype(float)]), weights)
    curves: list[Knots] = [()] * filled.shape[1]
    if scaling == "robust":
        means[: filled.shape[1]], scales[: filled.shape[1]] = quartiles(filled, weights)
    if scaling == "quantile":
        means[: filled.shape[1]] = fills
        found = [normal_scores(column, fill, weights) for column, fill in zip(raw.T, fills, strict=True)]
        scales[: filled.shape[1]], curves = [scale for scale, _ in found], [knots for _, knots in found]
    limit = LIMIT if scaling == "robust" else None
    finite = np.isfinite(means) & np.isfinite(scales)
    finite[: len(curves)] &= [bool(np.isfinite(np.ptp(knots or [[0.0]], axis=0)).all()) for knots in curves]
    if not finite.all():
        raise ScaleOverflow(int(finite.argmin()))
    scalings = [Scaling(mean=mean, scale=scale) for mean, scale in zip(means.tolist(), scales.tolist(), strict=True)]
    values = zip(fills.tolist(), scalings, curves, strict=False)
    indicators = iter(scalings[raw.shape[1] :])
    return (
        [Imputed(fill=f, mean=one.mean, scale=one.scale, limit=limit, knots=knots) for f, one, knots in values],
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


def normal_scores(column: np.ndarray, median: float, weights: np.ndarray | None = None) -> tuple[float, Knots]:
    """Return scale and knots by which the values that are there of a column (rows,) become normal.

    A quantile between 0 and 1 of a column of both is one of them: a knot beside a value that many rows share would make
    the curve steep, and the scale small. Quantiles that are equal up to rounding are one knot, but a few values far
    away make no others equal. A column of one value has one knot, at z = 0, and the scale 1. Knots are infinite where
    values are too far from each other for the scale.
    """
    from scipy.stats import norm  # a quarter of a second

    there = ~np.isnan(column)
    values, counts = column[there], None if weights is None else weights[there]
    number = min(MOST_KNOTS, len(values))
    ranks = np.linspace(0, 1, number) if number > 1 else np.array([0.5])
    places = np.quantile(values, ranks) if counts is None else weighted_quantiles(values, ranks.tolist(), counts)
    places = beside_ties(places, values, counts)
    _, spread = quartiles(values[:, None], counts)
    far = np.diff(places, prepend=-np.inf) > ROUNDING * (spread + np.abs(places - median))
    far[0] = True
    group = np.cumsum(far) - 1
    heights = norm.ppf(np.bincount(group, (np.arange(number) + 0.5) / number) / np.bincount(group))
    places = places[far]
    scale = float((np.diff(places) / np.diff(heights)).min()) if len(places) > 1 else 1.0
    return scale, tuple(zip(((places - median) / scale).tolist(), heights.tolist(), strict=True))


def beside_ties(places: np.ndarray, values: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Return rising places (places,) between values, moved to the nearer value where one beside it is repeated."""
    ordered, inverse = np.unique(values, return_inverse=True)
    repeated = np.bincount(inverse, weights) > 1
    high = np.searchsorted(ordered, places).clip(max=len(ordered) - 1)
    low = np.where(ordered[high] == places, high, high - 1).clip(0)
    near = np.where(places - ordered[low] < ordered[high] - places, low, high)
    return np.where(repeated[low] | repeated[high], ordered[near], places)


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
    for place, column in enumerate(columns):
        if column.knots:
            scaled[:, place] = np.interp(scaled[:, place], *column.curve)
    return scaled


def clipped(values: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Return s / sqrt(1 + (s / limit)^2) for values s (rows, columns) and limits (columns,)."""
    bounded = np.clip(values, -LARGEST, LARGEST)
    return np.asarray(bounded / np.sqrt(1 + (bounded / limits) ** 2))
