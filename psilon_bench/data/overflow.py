"""Looks for numbers that were finite in the table and are infinite once they are scaled, or in the outputs."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from psilon_bench.data import checks
from psilon_bench.data.preprocessing import Preprocessing
from psilon_bench.data.task import Split
from psilon_bench.errors import UsageError


def check_inputs(splits: list[Split], features: list[str], inputs: pd.DataFrame, place: checks.RowPlace) -> None:
    """Raise UsageError that names column and row where scaling has made a number infinite."""
    finite = torch.stack([split.x.isfinite().all(dim=0) for split in splits]).all(dim=0)
    for name, whole in zip(features, finite.tolist(), strict=True):
        if name in inputs and not whole:
            raise checks.overflow("column", inputs[name], place)


def check_targets(y: Tensor, scale: float, target: pd.Series, place: checks.RowPlace) -> None:
    """Raise UsageError that names the row where scaling has made the target infinite."""
    if not (y.isfinite().all() and np.isfinite(scale)):
        raise checks.overflow("target", target, place)


def check_new_inputs(x: Tensor, fitted: Any, rows: Any) -> None:
    """Raise UsageError that names column and row where scaled new rows (rows, ...) overflow float32, as training has.

    fitted: the preprocessing that made x of the raw `rows`.
    """
    infinite = ~x.float().flatten(1).isfinite()
    if infinite.any():
        row, place = infinite.nonzero()[0].tolist()
        raise UsageError(
            f"Numbers must stay finite when they are scaled, but {_cell(fitted, rows, row, place)}. "
            "Correct the cell or leave it empty."
        )


def check_outputs(outputs: Tensor, x: Tensor, fitted: Any, rows: Any) -> None:
    """Raise UsageError that names the row whose outputs (rows, outputs) are not finite, and its largest input."""
    finite = outputs.isfinite().all(dim=1)
    if not finite.all():
        row = int((~finite).nonzero()[0])
        place = int(x[row].flatten().abs().argmax())
        raise UsageError(
            f"The outputs of a network must be finite, but those of row {row + 1} are not: its largest input is that "
            f"{_cell(fitted, rows, row, place)}. Correct it, or take another network."
        )


def _cell(fitted: Any, rows: Any, row: int, place: int) -> str:
    """Return which raw cell an input of a row comes from, and what it holds; of images the number of the input."""
    if not isinstance(fitted, Preprocessing):
        return f"input {place} of row {row + 1} holds {np.asarray(rows).reshape(len(rows), -1)[row, place]:g}"
    name = [feature.column.name for feature in fitted.features()][place]
    return f"column {name!r} holds {str(rows[name].iloc[row])[:40]} in row {row + 1}"
