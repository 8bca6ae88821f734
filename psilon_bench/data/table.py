"""Your own table: one file, one target column; what is not said is inferred and stated in the task's notes."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import NonNegativeInt, PositiveInt

from psilon_bench.data import checks, store, table_file
from psilon_bench.data.prepare import Choices, Protocol, RawTable, prepare, without_protocol
from psilon_bench.data.preprocessing import Encoding
from psilon_bench.data.split import Size
from psilon_bench.data.task import Task
from psilon_bench.errors import UsageError
from psilon_bench.marks import InputPath, settled_by

MAX_COUNTED_CLASSES = 10  # a target of whole numbers with more values than this is a quantity
GUESSES = ("target", "label", "class", "y")


@settled_by(without_protocol)
def load(
    name: str,
    path: InputPath | None,
    target: str | None,
    kind: Literal["infer", "regression", "classes"],
    drop: list[str],
    group: str | None,
    train_size: Size | None,
    val_size: Size | None,
    test_size: Size | None,
    max_rows: PositiveInt | None,
    encoding: Encoding,
    protocol: Protocol,
    split_seed: NonNegativeInt,
) -> Task:
    """`group`: rows that agree in this column stay in one split; it is not an input."""
    if path is None:
        raise UsageError("dataset=table reads a file, but dataset.path=null. Set dataset.path=my.csv.")
    file = Path(path).expanduser()
    choices = Choices([train_size, val_size, test_size], max_rows, split_seed, encoding).with_protocol(protocol)
    frame, categorical = table_file.read(file)
    raw = _described(file, frame, categorical, target, kind)
    if group is not None:
        checks.check_present("dataset.group", [group], [c for c in frame if c != raw.target])
        raw = replace(raw, group=group, categorical=[c for c in categorical if c not in (group, raw.target)])
    return prepare(raw.without(drop), choices)


def _described(file: Path, frame: pd.DataFrame, categorical: list[str], target: str | None, kind: str) -> RawTable:
    notes: list[str] = []
    if target is None:
        target = _guess_target(list(frame.columns), file)
        notes.append(f"target inferred from its name: {target}")
    checks.check_target_name(target, list(frame.columns), file.name)
    if kind == "infer":
        kind = "classes" if _is_class(frame[target], target in categorical) else "regression"
        notes.append(f"kind inferred from {target!r} ({frame[target].nunique()} values, {frame[target].dtype}): {kind}")
    if kind == "regression" and target in categorical:
        raise UsageError(
            f"A regression target must be numbers, but {target!r} holds {str(frame[target].dropna().iloc[0])[:40]!r}. "
            "Set dataset.kind=classes, or clean the column."
        )
    return RawTable(
        name=file.name.partition(".")[0],
        frame=frame,
        target=target,
        regression=kind == "regression",
        categorical=[c for c in categorical if c != target],
        source=str(file.absolute()),
        licence="your own file",
        checksum=store.sha256(file),
        notes=notes,
    )


def _guess_target(columns: list[str], file: Path) -> str:
    for guess in GUESSES:
        if guess in columns:
            return guess
    raise UsageError(
        f"A table needs a target, but dataset.target=null and {file.name} has no column named {', '.join(GUESSES)}. "
        f"Columns: {checks.names(columns)}. Set dataset.target=<column>."
    )


def _is_class(target: pd.Series, is_level: bool) -> bool:
    if is_level or pd.api.types.is_bool_dtype(target):
        return True
    values = target.dropna()
    return bool((values % 1 == 0).all()) and values.nunique() <= MAX_COUNTED_CLASSES
