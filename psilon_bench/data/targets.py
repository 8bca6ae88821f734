"""The target column as numbers: classes counted from 0, or a regression target on a robust scale."""

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from psilon_bench.data import levels
from psilon_bench.data.checks import RowPlace
from psilon_bench.data.levels import LARGEST_EXACT
from psilon_bench.data.quantiles import weighted_quantiles
from psilon_bench.errors import UsageError


def class_codes(target: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Return the class of each row, int64 (rows,), and the names of the classes in natural order (2 before 10)."""
    codes, found = pd.factorize(target)
    order = sorted(range(len(found)), key=lambda index: levels.natural(found[index]))
    return np.argsort(order)[codes].astype(np.int64), [levels.class_name(found[index]) for index in order]


def class_tensor(codes: np.ndarray, num_classes: int) -> Tensor:
    """Return the targets of classification: float32 (n, 1) of 0 and 1 for two classes, int64 (n,) for more."""
    y = torch.from_numpy(np.ascontiguousarray(codes))
    return y.to(torch.float32)[:, None] if num_classes == 2 else y


def scaled_tensor(y: np.ndarray, center: float, scale: float) -> Tensor:
    """Return the targets of regression, (y - center) / scale, as float32 (n, 1)."""
    return torch.from_numpy((y - center) / scale).to(torch.float32)[:, None]


def robust_scale(y: np.ndarray, weights: np.ndarray | None = None) -> tuple[float, float]:
    """Return median and IQR / 2 of a target (rows,), the scale of Biswas 2024 (arXiv 2404.19112).

    With weights (rows,) a row of weight 2 counts like two equal rows.

    Where half of the values agree and the IQR is 0, the scale is 0.6745 standard deviations, and 1 where that is 0 too.
    For a normal distribution IQR / 2 = 0.6745 standard deviations, so the fallback keeps the units comparable.
    """
    quartiles = [0.25, 0.5, 0.75]
    low, center, high = np.quantile(y, quartiles) if weights is None else weighted_quantiles(y, quartiles, weights)
    spread = np.std(y) if weights is None else np.sqrt(np.cov(y, ddof=0, aweights=weights))
    scale = (high - low) / 2 or 0.6745 * float(spread)
    return float(center), float(scale) or 1.0


def check_target(target: pd.Series, regression: bool, place: RowPlace) -> None:
    """Raise UsageError for a target that is infinite or has one value, or for classes that floats cannot tell apart."""
    if pd.api.types.is_numeric_dtype(target) and not pd.api.types.is_bool_dtype(target):
        _check_numbers(target, regression, place)
    if target.nunique() < 2:
        only = target.iloc[0] if len(target) else "no"
        raise UsageError(
            f"The target must take two values or more, but {target.name!r} has one only ({only}). "
            "Choose another target column or other rows."
        )


def _check_numbers(target: pd.Series, regression: bool, place: RowPlace) -> None:
    """Raise UsageError for a numeric target that is infinite, or whose classes floats cannot tell apart."""
    values = target.to_numpy(dtype=np.float64)
    if not np.isfinite(values).all():
        row = place(target.index[np.argmin(np.isfinite(values))])
        raise UsageError(f"A target must be finite, but {target.name!r} is infinite in {row}. Remove such rows.")
    largest = np.abs(values).max(initial=0)
    if not regression and pd.api.types.is_float_dtype(target) and largest >= LARGEST_EXACT:
        raise UsageError(
            f"Classes must be told apart, but {target.name!r} is stored as floats, which skip whole numbers beyond "
            f"2^53 ({largest:.17g}). Store it as integers or text."
        )


def check_class_sizes(target: pd.Series, num_splits: int = 3) -> None:
    """Raise UsageError where a class has fewer rows than there are splits."""
    counts = target.value_counts()
    small = counts[counts < num_splits]
    if len(small):
        raise UsageError(
            f"Each class needs a row in each of the {num_splits} splits, but {target.name!r} has "
            f"{small.iloc[0]} of class {str(small.index[0])!r}{_and_more(len(small) - 1)}. "
            "Remove or merge rare classes, or set dataset.kind=regression."
        )


def check_every_class(labels: np.ndarray, num_classes: int, what: str, remedy: str) -> None:
    """Raise UsageError where a class is not among those of the training rows that count, (rows,)."""
    if len(np.unique(labels)) < num_classes:
        raise UsageError(
            f"The training rows must hold every class, but {len(labels)} {what} miss some of the {num_classes}. "
            f"{remedy}, or merge rare classes."
        )


def _and_more(number: int) -> str:
    """Return the end of a message that names one class of several."""
    return f" (and {number} more such classes)" if number else ""
