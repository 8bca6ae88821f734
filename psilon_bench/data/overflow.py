"""Looks for numbers that were finite in the table and are infinite once they are scaled."""

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from psilon_bench.data import checks
from psilon_bench.data.task import Split


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
