"""What a certificate says of the columns that a user has, in place of the inputs that a network has."""

import numpy as np
from sklearn.compose import ColumnTransformer

from psilon_bench.data.task import Task


def column_bounds(task: Task, bounds: np.ndarray, columns: list[str]) -> np.ndarray:
    """Return how far the outputs move at most (L1) when a column alone moves by one, (columns,).

    bounds: of the inputs as scaled for the network, (inputs,). A column of numbers or dates moves by one of its units
    or by a day. A column of levels moves by one where the level changes: two inputs change, so that the two largest
    bounds of its levels count. Between a value and a missing one nothing is said of a column of numbers. Outputs are
    logits or, of a regression, in units of the target. A column that the network does not read has the bound 0.
    """
    raw = bounds / np.asarray(task.input_scales) * task.target_scale
    by_name = dict.fromkeys(columns, 0.0)
    transformer = task.preprocessing
    assert isinstance(transformer, ColumnTransformer)
    for part, _, names in transformer.transformers_:
        if part == "remainder" or not len(names):
            continue
        own = raw[transformer.output_indices_[part]]
        if part != "category":
            by_name |= {name: float(bound) for name, bound in zip(names, own, strict=False)}  # indicators come last
            continue
        levels = transformer.named_transformers_[part].named_steps["encode"].categories_
        ends = np.cumsum([len(level) for level in levels])
        by_name |= {
            name: float(np.sort(level)[-2:].sum()) for name, level in zip(names, np.split(own, ends[:-1]), strict=True)
        }
    return np.array([by_name[name] for name in columns])
