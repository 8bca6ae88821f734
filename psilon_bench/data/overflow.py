"""Looks for numbers that were finite in the table and are infinite once they are scaled."""

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from psilon_bench.data import checks
from psilon_bench.data.task import Split
from psilon_bench.errors import UsageError


def check_inputs(splits: list[Split], features: list[str], inputs: pd.DataFrame, place: checks.RowPlace) -> None:
    """Raise UsageError that names column and row where scaling has made a number infinite."""
    finite = torch.stack([split.x.isfinite().all(dim=0) for split in splits]).all(dim=0)
    for name, whole in zip(features, finite.tolist(), strict=True):
        if name in inputs and not whole:
            raise checks.overflow("column", inputs[name], place)


def check_new_inputs(x: Tensor, columns: list[str]) -> None:
    """Raise UsageError where scaling has made a number of new rows infinite, x (rows, inputs) of these raw columns."""
    for name, infinite in zip(columns, x.isinf().T, strict=True):
        if infinite.any():
            raise UsageError(
                f"Numbers must stay finite when they are scaled, but column {name!r} has {int(infinite.sum())} that do "
                f"not, the first in row {int(infinite.int().argmax()) + 1}. Correct the cells or leave them empty."
            )


def check_outputs(outputs: Tensor) -> None:
    """Raise UsageError where the outputs of a network, (rows, outputs), are not finite."""
    wrong = (~outputs.isfinite().all(dim=1)).nonzero()
    if len(wrong):
        raise UsageError(
            f"The outputs of a network must be finite, but those of {len(wrong)} rows are not, the first row "
            f"{int(wrong[0]) + 1}. Correct numbers that are too large."
        )


def check_targets(y: Tensor, scale: float, target: pd.Series, place: checks.RowPlace) -> None:
    """Raise UsageError that names the row where scaling has made the target infinite."""
    if not (y.isfinite().all() and np.isfinite(scale)):
        raise checks.overflow("target", target, place)
