"""The target column as numbers: classes counted from 0, or a regression target on a robust scale."""

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from psilon_bench.errors import UsageError


def class_codes(target: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Class numbers and names, in sorted order (numbers by value, 2 before 10)."""
    levels = sorted(target.unique().tolist(), key=_natural)
    codes = pd.Categorical(target.astype(object), categories=levels).codes.astype(np.int64)
    return codes, [_label(level) for level in levels]


def _label(level: object) -> str:
    """A missing value elsewhere in the column makes whole numbers floats; their names stay 0, 1, 2."""
    return str(int(level)) if isinstance(level, float) and level.is_integer() else str(level)


def _natural(level: object) -> tuple[bool, float, str]:
    try:
        return (False, float(str(level)), "")
    except ValueError:
        return (True, 0.0, str(level))


def class_tensor(codes: np.ndarray, num_classes: int) -> Tensor:
    """(n, 1) float 0/1 for two classes, (n,) int64 for more."""
    y = torch.from_numpy(np.ascontiguousarray(codes))
    return y.to(torch.float32)[:, None] if num_classes == 2 else y


def scaled_tensor(y: np.ndarray, center: float, scale: float) -> Tensor:
    return torch.from_numpy((y - center) / scale).to(torch.float32)[:, None]


def robust_scale(y: np.ndarray) -> tuple[float, float]:
    """(median, IQR / 2); where half of the values agree and the IQR is 0, half the distance a standard deviation spans.

    For a normal distribution IQR / 2 = 0.6745 standard deviations, so the fallback keeps the units comparable.
    """
    low, center, high = np.quantile(y, [0.25, 0.5, 0.75])
    scale = (high - low) / 2 or 0.6745 * float(np.std(y))
    return float(center), float(scale) or 1.0


def check_target(target: pd.Series, regression: bool) -> None:
    name = target.name
    if target.nunique() < 2:
        only = target.iloc[0] if len(target) else "no"
        raise UsageError(
            f"The target must take two values or more, but {name!r} has one only ({only}). "
            "Choose another target column or other rows."
        )
    if regression and not np.isfinite(target.to_numpy(dtype=np.float64)).all():
        raise UsageError(f"A regression target must be finite, but {name!r} holds infinite values. Remove those rows.")


def check_class_sizes(target: pd.Series, num_splits: int = 3) -> None:
    counts = target.value_counts()
    small = counts[counts < num_splits]
    if len(small):
        raise UsageError(
            f"Each class needs a row in each of the {num_splits} splits, but {target.name!r} has "
            f"{small.iloc[0]} of class {str(small.index[0])!r}{_and_more(len(small) - 1)}. "
            "Remove or merge rare classes, or set dataset.kind=regression."
        )


def _and_more(number: int) -> str:
    return f" (and {number} more such classes)" if number else ""
