"""Checks of a table before it is split: unique names, finite numbers, and categories rather than prose."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from psilon_bench.data.setting import setting
from psilon_bench.errors import UsageError

RowPlace = Callable[[int], str]  # of a row by its number from 0: "line 17"

MAX_LEVELS = 1000  # more than this is an identifier or prose, and one-hot columns without end


def check_names(columns: list[str]) -> None:
    """Raise UsageError where two columns have the same name."""
    seen = pd.Index(columns)
    if not seen.is_unique:
        twice = seen[seen.duplicated()].unique().tolist()
        raise UsageError(f"Column names must be unique, but these repeat: {name_list(twice)}. Rename them in the file.")


def check_target_name(target: str | None, columns: list[str], where: str) -> None:
    """Raise UsageError unless the target is one of the columns; `where` says what they are the columns of."""
    if target not in columns:
        raise UsageError(
            f"dataset.target={target} is not a column of {where}. Columns: {name_list(columns)}. "
            "Set dataset.target=<column>."
        )


def check_present(key: str, wanted: Sequence[str], columns: Sequence[str]) -> None:
    """Raise UsageError unless all `wanted` names are columns; `key` is the option that names them."""
    unknown = [c for c in wanted if c not in columns]
    if unknown:
        raise UsageError(f"{key} must name columns, but {name_list(unknown)} are none. Columns: {name_list(columns)}.")


def check_columns(frame: pd.DataFrame, categorical: list[str], dates: list[str], place: RowPlace) -> None:
    """Raise UsageError unless a table of inputs (rows x columns) can be learnt from.

    Each column must hold some value, and a column of numbers finite ones. A categorical column may have at most
    MAX_LEVELS levels, and more than 20 only where they are at most half as many as its values. Columns of dates are not
    looked at. `place` says where a row is.
    """
    if frame.shape[1] == 0:
        raise UsageError("A task needs at least one input column besides the target, but there is none.")
    empty = frame.columns[frame.isna().all()].tolist()
    if empty:
        raise UsageError(f"Columns must hold values, but {name_list(empty)} are missing throughout. {_drop(empty)}")
    leveled, dated = set(categorical), set(dates)
    for column in frame:
        if column in leveled:
            _check_levels(frame[column])
        elif column not in dated:
            _check_finite(frame[column], place)


def _check_levels(column: pd.Series) -> None:
    """Raise UsageError where a column has so many different values that it is an identifier or prose."""
    levels, rows = column.nunique(), column.notna().sum()
    if levels > MAX_LEVELS or (levels > 20 and levels > rows / 2):
        raise UsageError(
            f"Text columns must be categories, but {column.name!r} has {levels} different values in {rows} rows "
            f"(e.g. {str(column.dropna().iloc[0])[:40]!r}). {_drop([str(column.name)])}"
        )


def _check_finite(column: pd.Series, place: RowPlace) -> None:
    """Raise UsageError that names the first infinite value of a column of numbers."""
    infinite = np.isinf(column.to_numpy(dtype=np.float64, na_value=np.nan))
    if infinite.any():
        raise UsageError(
            f"Numbers must be finite, but column {column.name!r} has {infinite.sum()} infinite values, the first in "
            f"{place(column.index[infinite.argmax()])}. Replace them, or leave the cells empty to have them imputed."
        )


def overflow(what: str, column: pd.Series, place: RowPlace) -> UsageError:
    """Return the error for a column whose scaled numbers overflow; it names the largest value and its row.

    The largest value is the cause in any case: it made the scale infinite, or it does not fit the scale.
    """
    values = column.astype(float)
    row = values.abs().idxmax()
    return UsageError(
        f"Numbers must stay finite when they are scaled, but {what} {column.name!r} holds {values[row]:.17g} in "
        f"{place(row)}. Correct the cell or leave it empty; in a table of yours dataset.missing=[...] may name it."
    )


def _drop(columns: list[str]) -> str:
    """Return the remedy that leaves these columns out."""
    return f"Remove with {setting('dataset.drop', columns)}."


def name_list(columns: Sequence[str], most: int = 8) -> str:
    """Return the first `most` names with commas in between, and how many names there are where some are left out."""
    shown = ", ".join(map(str, columns[:most]))
    return f"{shown}, ... ({len(columns)} in all)" if len(columns) > most else shown
