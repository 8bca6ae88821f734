"""What a table must be before it is split: unique names, finite numbers, categories rather than prose."""

import numpy as np
import pandas as pd

from psilon_bench.errors import UsageError

MAX_LEVELS = 1000  # more than this is an identifier or prose, and one-hot columns without end


def check_names(columns: list[str]) -> None:
    seen = pd.Index(columns)
    if not seen.is_unique:
        twice = seen[seen.duplicated()].unique().tolist()
        raise UsageError(f"Column names must be unique, but these repeat: {names(twice)}. Rename them in the file.")


def check_target_name(target: str | None, columns: list[str], where: str) -> None:
    if target not in columns:
        raise UsageError(
            f"dataset.target={target} is not a column of {where}. Columns: {names(columns)}. "
            "Set dataset.target=<column>."
        )


def check_present(setting: str, wanted: list[str], columns: list[str]) -> None:
    unknown = [c for c in wanted if c not in columns]
    if unknown:
        raise UsageError(f"{setting} must name columns, but {names(unknown)} are none. Columns: {names(columns)}.")


def check_columns(frame: pd.DataFrame, categorical: list[str]) -> None:
    if frame.shape[1] == 0:
        raise UsageError("A task needs at least one input column besides the target, but there is none.")
    empty = [c for c in frame if frame[c].isna().all()]
    if empty:
        raise UsageError(f"Columns must hold values, but {names(empty)} are missing throughout. {_drop(empty)}")
    for column in frame:
        if column in set(categorical):
            _check_levels(frame[column])
        else:
            _check_finite(frame[column])


def _check_levels(column: pd.Series) -> None:
    levels, rows = column.nunique(), column.notna().sum()
    if levels > MAX_LEVELS or (levels > 20 and levels > rows / 2):
        raise UsageError(
            f"Text columns must be categories, but {column.name!r} has {levels} different values in {rows} rows "
            f"(e.g. {str(column.dropna().iloc[0])[:40]!r}). {_drop([str(column.name)])}"
        )


def _check_finite(column: pd.Series) -> None:
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    infinite = int(np.isinf(values).sum())
    if infinite:
        raise UsageError(
            f"Numbers must be finite, but column {column.name!r} has {infinite} infinite values. "
            "Replace them, or leave the cells empty to have them imputed."
        )


def _drop(columns: list[str]) -> str:
    return f"Remove with dataset.drop=[{','.join(columns)}]."


def names(columns: list[str], most: int = 8) -> str:
    shown = ", ".join(map(str, columns[:most]))
    return f"{shown}, ... ({len(columns)} in all)" if len(columns) > most else shown
