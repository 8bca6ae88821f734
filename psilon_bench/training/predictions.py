"""Predictions row by row: what a network makes of each validation and test row, beside what is right."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from torch import Tensor

from psilon_bench.data.task import Split, Task
from psilon_bench.metrics.prediction import probabilities


def prediction_table(task: Task, logits: Mapping[str, Tensor]) -> pa.Table:
    """Return a row for each row of these splits of a task of classes or a regression.

    logits: (rows, outputs) by the name of the split. The columns are `row` (its number in the table as its source gave
    it, from 0; null where the source does not tell), `split`, `target` and `prediction`: names of classes, or numbers
    (float64) in units of the target. Of classes also `probability/<class>` (float32); the class of the largest is
    predicted. Rows with weights have a last column `weight` (float64).
    """
    return pa.concat_tables([_of_split(task, name, getattr(task, name), values) for name, values in logits.items()])


def raw(task: Task, scaled: Tensor) -> np.ndarray:
    """Return numbers (rows, 1) of a regression in units of the target, float64 (rows,)."""
    return np.asarray(task.target_center + task.target_scale * scaled.detach().double().cpu().squeeze(1))


def _of_split(task: Task, name: str, split: Split, logits: Tensor) -> pa.Table:
    """Return the rows of one split; see `prediction_table`."""
    rows = pa.nulls(len(split), pa.int64()) if split.rows is None else pa.array(split.rows.numpy())
    columns: dict[str, Any] = {"row": rows, "split": _words(np.zeros(len(split), np.int32), [name])}
    if task.kind == "regression":
        values = {"target": raw(task, split.y), "prediction": raw(task, logits)}
        return pa.table(columns | values | _weights(split))
    logits = logits.detach().double().cpu()
    likely, right = probabilities(task.kind, logits), split.y.flatten().int().numpy()
    columns |= {"target": _words(right, task.classes), "prediction": _words(_predicted(logits), task.classes)}
    columns |= {f"probability/{c}": likely[:, k].float().numpy() for k, c in enumerate(task.classes)}
    return pa.table(columns | _weights(split))


def _weights(split: Split) -> dict[str, np.ndarray]:
    """Return the column of weights, where the rows have any."""
    return {} if split.weights is None else {"weight": split.weights.numpy()}


def _predicted(logits: Tensor) -> np.ndarray:
    """Return the index of the predicted class (rows,), as metrics.prediction.accuracy has it."""
    return (logits.squeeze(1) > 0 if logits.shape[1] == 1 else logits.argmax(dim=1)).int().numpy()


def _words(codes: np.ndarray, words: list[str]) -> pa.DictionaryArray:
    """Return words by their indices, int32 (rows,), each word stored once."""
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(words, pa.string()))
