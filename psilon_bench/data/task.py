"""A task, which is what a run learns from: three disjoint splits as tensors, and how to read them and new rows."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from psilon_bench.data.image_scaler import ImageScaler
from psilon_bench.data.preprocessing import Preprocessing
from psilon_bench.errors import UsageError

Kind = Literal["regression", "binary", "multiclass", "recovery"]


@dataclass(frozen=True)
class Split:
    """Rows of a task: inputs x, (n, features) or (n, channels, height, width), and targets y as Task defines them.

    `rows`, int64 (n,), are their numbers in the table or set of images as its source gave it, from 0, before any row
    was left out; None from a source that does not tell. `weights`, float64 (n,), say how often each row counts: one of
    weight 2 counts like two equal rows, one of weight 0 not at all; None: all rows count alike.
    """

    x: Tensor
    y: Tensor
    rows: Tensor | None = None
    weights: Tensor | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.x)

    @property
    def shares(self) -> Tensor | None:
        """Return the share of each row in a mean over the rows, w / sum(w), float64 (n,); None: all count alike."""
        return None if self.weights is None else self.weights / self.weights.sum()


@dataclass(frozen=True)
class Task:
    """A supervised task on the CPU in float32 (sparse recovery: float64); who trains on it casts and moves it.

    A refit has a `val` without rows: the network trains on all rows but those of the test.

    y is float (n, 1) for regression (in units of `target_scale`), binary classification (0 or 1) and recovery, and
    int64 (n,) for multiclass. The preprocessing, the centre and the scale were fitted on `train` alone.
    """

    name: str
    kind: Kind
    train: Split
    val: Split
    test: Split
    feature_names: list[str]  # one per input, after preprocessing
    num_outputs: int  # the number of classes for multiclass, else 1
    classes: list[str]  # in the order of y; empty for regression
    target_center: float  # regression: y_raw = center + scale * y, center = median, scale = IQR / 2; classes: 0 and 1
    target_scale: float
    target_name: str
    preprocessing: Preprocessing | ImageScaler | None  # raw rows -> x; None: there are no raw rows
    source: str
    licence: str
    checksum: str  # sha256 of the raw data
    notes: list[str] = field(default_factory=list)  # what was decided for the user: dropped columns, inferred kind
    input_scales: list[float] = field(default_factory=list)  # raw units per unit of each input; empty: the same units
    extra_tests: dict[str, Split] = field(default_factory=dict)  # e.g. the corruptions of MNIST-C
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None  # training batches only, on the batch's device

    def __post_init__(self) -> None:
        """Raise UsageError for numbers that training would turn into NaN, whichever source they come from.

        And for a preprocessing that no record can keep.
        """
        if not isinstance(self.preprocessing, Preprocessing | ImageScaler | None):
            raise UsageError(
                f"Task.preprocessing must be a Preprocessing, an ImageScaler or None, but that of {self.name} is a "
                f"{type(self.preprocessing).__name__}. Make the task by make_task, or set None."
            )
        splits = {"train": self.train, "val": self.val, "test": self.test, **self.extra_tests}
        for name, split in splits.items():
            check_finite(self.name, name, split)
            check_weights(self.name, name, split.weights)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Return the shape of one row of inputs: (features,) or (channels, height, width)."""
        return tuple(self.train.x.shape[1:])

    @property
    def num_features(self) -> int:
        """Return the number of inputs of a row."""
        return math.prod(self.input_shape)

    @property
    def input_columns(self) -> list[str]:
        """Return for each input the column of the table that it is made of, where there is a table, else its name."""
        fitted = self.preprocessing
        return fitted.input_columns if isinstance(fitted, Preprocessing) else self.feature_names


def check_finite(task: str, name: str, split: Split) -> None:
    """Raise UsageError that names the first row of inputs or targets that is infinite or no number."""
    for what, values in (("inputs", split.x), ("targets", split.y)):
        if not values.isfinite().all():
            row = int((~values.isfinite()).flatten(1).any(dim=1).nonzero()[0])
            raise UsageError(
                f"All numbers of a task must be finite, but the {what} of {task} are not in {name} row {row + 1}. "
                "Correct the data."
            )


def check_weights(task: str, name: str, weights: Tensor | None) -> None:
    """Raise UsageError for weights (rows,) that are negative or no numbers, or of which none is above 0."""
    if weights is None or not len(weights):
        return
    wrong = ~(weights.isfinite() & (weights >= 0))
    if wrong.any():
        row = int(wrong.nonzero()[0])
        raise UsageError(
            f"Weights of rows must be finite and at least 0, but {task} has {weights[row]:g} in {name} row "
            f"{row + 1}. Correct the weights."
        )
    if not weights.any():
        raise UsageError(
            f"Some row must count, but the weights of all {len(weights)} {name} rows of {task} are 0. "
            "Take other weights, or another split."
        )
