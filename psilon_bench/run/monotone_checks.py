"""Which inputs of a network are those of the columns in which it is to be monotone, or why there are none."""

from typing import Any

import torch

from psilon_bench.config.schema import Config
from psilon_bench.data.checks import name_list
from psilon_bench.data.preprocessing import Preprocessing
from psilon_bench.data.task import Task
from psilon_bench.errors import UsageError
from psilon_bench.models.monotone import MonotoneInputs


def set_directions(config: Config, task: Task, model: Any) -> None:
    """Give the network the directions of model.monotone; UsageError where a column, the task or the network has none.

    A column of numbers, of dates or of codes is one input, whose indicator of missing values is another one.
    """
    asked = config.model.monotone
    if not asked:
        return
    if not isinstance(model, MonotoneInputs):
        raise UsageError(
            f"model.monotone={asked} needs to know how far an input moves the output, which {type(model).__name__} of "
            f"model={config.model.name} does not tell. Take model=pnet, snet, mlp or psilon_resnet."
        )
    if task.kind not in ("regression", "binary"):
        raise UsageError(
            f"model.monotone={asked} speaks of one output, and {task.name} is a task of {task.kind}: of several "
            "classes one becomes likelier only where others become less so. Set model.monotone=null."
        )
    model.directions = torch.zeros(task.num_features)
    for name, direction in asked.items():
        model.directions[input_of(task, name)] = direction


def input_of(task: Task, column: str) -> int:
    """Return the place of the input that rises with a raw column; UsageError where there is none."""
    rule = f"model.monotone names {column!r}"
    fitted = task.preprocessing
    if not isinstance(fitted, Preprocessing):
        if fitted is None and column in task.feature_names:
            return task.feature_names.index(column)
        raise UsageError(f"{rule}, which is no column of {task.name}. {columns_told(task)}")
    features = [(place, one) for place, one in enumerate(fitted.features()) if one.column.name == column]
    if not features:
        raise UsageError(f"{rule}, which is no column that {task.name} is predicted from. {columns_told(task)}")
    values = [place for place, one in features if one.kind == "value"]
    if not values:
        raise UsageError(
            f"{rule}, a category whose levels are 0/1 columns without an order. Leave it out, or set "
            "dataset.encoding=codes, which orders them by name."
        )
    if any(one.kind == "wave" for _, one in features):
        raise UsageError(f"{rule}, a date whose place in the year goes up and down. Set dataset.dates=ordinal.")
    return values[0]


def columns_told(task: Task) -> str:
    """Return the names that model.monotone may have, as a remedy."""
    fitted = task.preprocessing
    if not isinstance(fitted, Preprocessing):
        return f"Inputs: {name_list(task.feature_names)}." if fitted is None else "Set model.monotone=null."
    return (
        f"Columns with an order: {name_list([column.name for column in fitted.columns if column.value is not None])}."
    )
