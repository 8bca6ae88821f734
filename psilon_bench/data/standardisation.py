"""Numbers with mean 0 and standard deviation 1 over the training rows; missing ones are replaced by the median first.

The fitted numbers are plain data, which JSON keeps to the last bit.
"""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from psilon_bench.data.quantiles import weighted_quantiles

PositiveFloat = Annotated[float, Field(gt=0)]


class FittedData(BaseModel):
    """What training rows have decided, as plain data; its types are strict and its numbers are finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Scaling(FittedData):
    """The standardised number z = (v - mean) / scale."""

    mean: float
    scale: PositiveFloat


class Imputed(Scaling):
    """The standardised number, with `fill` in the place of a missing v."""

    fill: float


class ScaleOverflow(ValueError):
    """The mean or the standard deviation of a column is infinite; `column` is its place."""

    def __init__(self, column: int) -> None:
        super().__init__(f"column {column} is too large to be standardised")
        self.column = column


def fit_scaling(raw: np.ndarray, weights: np.ndarray | None) -> tuple[list[Imputed], list[Scaling | None]]:
    """Return what standardises columns of numbers (rows, columns), NaN where missing, and their indicators.

    An indicator is 1 where its column lacks a value and 0 elsewhere; it is None where no row lacks one. With weights
    (rows,), all above 0, a row of weight 2 counts like two equal rows. Raises ScaleOverflow for numbers whose mean or
    standard deviation is infinite.
    """
    absent = np.isnan(raw)
    assert not absent.all(axis=0).any(), "constant_columns leaves no column without a value"
    fills = np.array([_median(column, weights) for column in raw.T])
    marked = absent.any(axis=0)
    means, scales = moments(np.hstack([np.where(absent, fills, raw), absent[:, marked].astype(float)]), weights)
    finite = np.isfinite(means) & np.isfinite(scales)
    if not finite.all():
        raise ScaleOverflow(int(finite.argmin()))
    scalings = [Scaling(mean=mean, scale=scale) for mean, scale in zip(means.tolist(), scales.tolist(), strict=True)]
    pairs = zip(fills.tolist(), scalings, strict=False)
    indicators = iter(scalings[raw.shape[1] :])
    return (
        [Imputed(fill=fill, mean=scaling.mean, scale=scaling.scale) for fill, scaling in pairs],
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


def _sums(values: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Return the sum of each column (columns,), weighted where rows have weights."""
    return np.asarray(values.sum(axis=0) if weights is None else weights @ values)


def standardised(values: np.ndarray, scalings: Sequence[Scaling]) -> np.ndarray:
    """Return columns of numbers (rows, columns), none of which are missing, as their scalings have them."""
    means, scales = np.array([[s.mean, s.scale] for s in scalings]).reshape(-1, 2).T
    with np.errstate(over="ignore"):  # data.overflow looks for what has become infinite
        return (values - means) / scales


def imputed(raw: np.ndarray, columns: Sequence[Imputed]) -> np.ndarray:
    """Return columns of numbers (rows, columns), NaN where missing, imputed and standardised."""
    return standardised(np.where(np.isnan(raw), [column.fill for column in columns], raw), columns)
