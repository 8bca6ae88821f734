"""What a certificate says of the columns that a user has, in place of the inputs that a network has."""

import numpy as np

from psilon_bench.data.preprocessing import Preprocessing
from psilon_bench.data.task import Task


def column_bounds(task: Task, bounds: np.ndarray, columns: list[str]) -> np.ndarray:
    """Return how far the outputs move at most (L1) when a column alone moves by one, (columns,).

    bounds: of the inputs as scaled for the network, (inputs,). A column of numbers or dates moves by one of its units
    or by a day. A column of levels moves by one where the level changes: two inputs change, so that the two largest
    bounds of its levels count. Between a value and a missing one nothing is said of a column of numbers. Outputs are
    logits or, of a regression, in units of the target. A column that the network does not read has the bound 0.
    """
    raw = (bounds / np.asarray(task.input_scales) * task.target_scale).tolist()
    assert isinstance(task.preprocessing, Preprocessing)
    by_name: dict[str, list[float]] = {}
    for feature, bound in zip(task.preprocessing.features(), raw, strict=True):
        if feature.kind in ("value", "level"):
            by_name.setdefault(feature.column.name, []).append(bound)
    return np.array([sum(sorted(by_name.get(name, [0.0]))[-2:]) for name in columns])
