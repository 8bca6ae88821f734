"""From a raw table to a Task: choose rows, fit the preprocessing on the training rows, make tensors."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from sklearn.compose import ColumnTransformer
from torch import Tensor

from psilon_bench.data import checks, preprocessing, targets
from psilon_bench.data.preprocessing import Encoding
from psilon_bench.data.split import NAMES, Rows, Size, resolve_sizes, split_rows
from psilon_bench.data.task import Kind, Split, Task
from psilon_bench.errors import UsageError

Protocol = Literal["none", "psilon"]
# PSiLON (Biswas 2024): at most 20,000 rows, 2000 for training, the rest in halves, categories as codes
PSILON: dict[str, Any] = {
    "train_size": 2000,
    "val_size": None,
    "test_size": None,
    "max_rows": 20_000,
    "encoding": "codes",
}


def without_protocol(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a source with the values that its protocol sets, in the place of those it overrides."""
    psilon = PSILON if arguments.pop("protocol", "none") == "psilon" else {}
    return {key: psilon.get(key, value) for key, value in arguments.items()}


@dataclass(frozen=True)
class RawTable:
    """A data frame as its source gave it, with what the source knows about it."""

    name: str
    frame: pd.DataFrame  # inputs and target
    target: str
    regression: bool
    categorical: list[str]  # input columns whose values are levels, not quantities
    source: str
    licence: str
    checksum: str
    notes: list[str] = field(default_factory=list)
    group: str | None = None  # rows with equal values here stay in one split; not an input

    def without(self, columns: list[str]) -> "RawTable":
        checks.check_present("dataset.drop", columns, [c for c in self.frame if c not in (self.target, self.group)])
        kept = [c for c in self.categorical if c not in columns]
        return replace(self, frame=self.frame.drop(columns=columns), categorical=kept)


@dataclass(frozen=True)
class Choices:
    """How to split and encode; see `with_protocol` for the papers' own choices."""

    sizes: list[Size | None]  # train, val, test
    max_rows: int | None
    split_seed: int
    encoding: Encoding = "onehot"

    def with_protocol(self, protocol: Protocol) -> "Choices":
        """What the protocol says of the same split; see PSILON."""
        if protocol == "none":
            return self
        sizes = [PSILON[f"{name}_size"] for name in NAMES]
        return Choices(sizes, PSILON["max_rows"], self.split_seed, PSILON["encoding"])


def prepare(raw: RawTable, choices: Choices, parts: list[Rows] | None = None) -> Task:
    """`parts`: row numbers of the splits, from a source that knows its own; `choices` make them otherwise."""
    frame, notes = _labelled_rows(raw)
    target = frame[raw.target]
    targets.check_target(target, raw.regression)
    inputs = frame.drop(columns=[raw.target, *([raw.group] if raw.group else [])])
    checks.check_columns(inputs, raw.categorical)
    values, classes = _values(target, raw.regression)
    parts = parts or _split(values, frame, raw, choices)
    transformer, features = _fit(inputs.iloc[parts[0]], raw.categorical, choices.encoding, notes)
    center, scale = targets.robust_scale(values[parts[0]]) if raw.regression else (0.0, 1.0)
    y = targets.class_tensor(values, len(classes)) if classes else targets.scaled_tensor(values, center, scale)
    train, val, test = (Split(_inputs(transformer, inputs.iloc[rows]), y[rows]) for rows in parts)
    return Task(
        name=raw.name,
        kind=_kind(classes),
        train=train,
        val=val,
        test=test,
        feature_names=features,
        input_scales=preprocessing.input_scales(transformer),
        num_outputs=len(classes) if len(classes) > 2 else 1,
        classes=classes,
        target_center=center,
        target_scale=scale,
        target_name=raw.target,
        preprocessing=transformer,
        source=raw.source,
        licence=raw.licence,
        checksum=raw.checksum,
        notes=notes,
    )


def _labelled_rows(raw: RawTable) -> tuple[pd.DataFrame, list[str]]:
    missing = raw.frame[raw.target].isna()
    if not missing.any():
        return raw.frame, list(raw.notes)
    return raw.frame[~missing], [*raw.notes, f"left out {missing.sum()} rows without a target"]


def _values(target: pd.Series, regression: bool) -> tuple[np.ndarray, list[str]]:
    if regression:
        return target.to_numpy(dtype=np.float64), []
    targets.check_class_sizes(target)
    return targets.class_codes(target)


def _kind(classes: list[str]) -> Kind:
    return "regression" if not classes else "binary" if len(classes) == 2 else "multiclass"


def _split(values: np.ndarray, frame: pd.DataFrame, raw: RawTable, choices: Choices) -> list[Rows]:
    counts = resolve_sizes(len(frame), choices.sizes, choices.max_rows)
    groups = None if raw.group is None else pd.factorize(frame[raw.group], use_na_sentinel=False)[0]
    labels = None if raw.regression else values
    parts = split_rows(len(frame), counts, choices.split_seed, labels, groups)
    if labels is not None and len(np.unique(labels[parts[0]])) < labels.max() + 1:
        raise UsageError(
            f"The training rows must hold every class, but {len(parts[0])} rows of {raw.name} miss some of the "
            f"{labels.max() + 1}. Ask for a larger dataset.train_size."
        )
    return parts


def _fit(
    train: pd.DataFrame, categorical: list[str], encoding: Encoding, notes: list[str]
) -> tuple[ColumnTransformer, list[str]]:
    constant = preprocessing.constant_columns(train)
    if constant:
        notes.append(f"dropped constant columns: {checks.names(constant)}")
    columns = [c for c in train if c not in set(constant)]
    if not columns:
        raise UsageError("Some input column must vary in the training rows, but every one is constant.")
    transformer = preprocessing.build(columns, categorical, encoding).fit(train)
    return transformer, preprocessing.feature_names(transformer)


def _inputs(transformer: ColumnTransformer, rows: pd.DataFrame) -> Tensor:
    return torch.from_numpy(np.asarray(transformer.transform(rows), dtype=np.float32))
