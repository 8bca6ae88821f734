"""Raw columns of a table as numbers, text, days and cycles, whatever types their cells arrive in."""

import datetime
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from psilon_bench.data import levels
from psilon_bench.data.form import Form, date, is_missing
from psilon_bench.errors import UsageError

PLAIN = Form()
CYCLES = {"year": 365.2425, "week": 7.0, "day": 1.0}  # in days
EPOCH = pd.Timestamp(0)


def holds_floats(frame: pd.DataFrame) -> bool:
    """Tell whether all columns are float64, so that the frame is one array: ten times as fast as column by column."""
    return all(dtype == np.float64 for dtype in frame.dtypes)


def as_number(frame: pd.DataFrame, form: Form = PLAIN) -> np.ndarray:
    """Return float64 (rows, columns) with NaN for missing values; UsageError for text that is no number of the form."""
    if frame.shape[1] == 0:
        return np.empty(frame.shape)
    if holds_floats(frame):
        values = np.ascontiguousarray(frame.to_numpy())
    else:
        values = np.column_stack([_numbers(frame[column], form) for column in frame])
    return np.where(np.isin(values, form.values), np.nan, values) if form.values else values


def _numbers(column: pd.Series, form: Form) -> np.ndarray:
    """Return a column as float64, with NaN for missing values; durations are in seconds."""
    if pd.api.types.is_timedelta64_dtype(column):
        column = column.dt.total_seconds()
    if not pd.api.types.is_numeric_dtype(column):
        column = _from_objects(column, form)
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _from_objects(column: pd.Series, form: Form) -> pd.Series:
    """Return numbers that arrive as text or among text, as in new rows that hold `?` or NA."""
    codes, found = pd.factorize(column)
    values = [_number(value, form) for value in found.tolist()]
    if None in values:
        odd = found[values.index(None)]
        marks = f" ({form.marks})" if form.marks else ""
        raise UsageError(
            f"Column {column.name!r} holds numbers, but {str(odd)[:40]!r} is none{marks}. Correct the cell or "
            "leave it empty."
        )
    return pd.Series(np.array([*values, np.nan], dtype=float)[codes])


def _number(value: Any, form: Form) -> float | None:
    """Return a cell as a number, NaN for a missing one; None for what is no number."""
    if isinstance(value, str):
        return np.nan if is_missing(value) or form.names(value) else form.number(value)
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, datetime.time):
        return value.hour * 3600 + value.minute * 60 + value.second + value.microsecond / 1e6
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def as_text(frame: pd.DataFrame, form: Form = PLAIN) -> pd.DataFrame:
    """Return the table with levels as text: 3, 3.0, "3" and the category 3 are one level, and missing stays missing."""
    return frame.apply(lambda column: _spelled(column, form))


def _spelled(column: pd.Series, form: Form) -> pd.Series:
    """Return a column of levels as text, with NaN for the words that the form takes for missing."""
    codes, found = pd.factorize(column)
    text = [levels.spelled(level) for level in found.tolist()]
    lookup = np.array([*(np.nan if form.names(word) else word for word in text), np.nan], dtype=object)
    return pd.Series(lookup[codes], index=column.index, dtype=object)


def as_days(frame: pd.DataFrame) -> np.ndarray:
    """Return days since 1970, float64 (rows, columns), NaN for missing; UsageError for text that is no date."""
    return np.column_stack([(_moments(frame[c]) - EPOCH) / pd.Timedelta(days=1) for c in frame])


def _moments(column: pd.Series) -> pd.Series:
    """Return a column of dates as timestamps without a time zone (UTC)."""
    if not pd.api.types.is_datetime64_any_dtype(column):
        codes, found = pd.factorize(column)
        lookup = pd.Series([*(_moment(column.name, value) for value in found.tolist()), pd.NaT])
        column = pd.to_datetime(lookup).iloc[codes].set_axis(column.index)
    return column if column.dt.tz is None else column.dt.tz_convert(None)


def _moment(name: Any, value: Any) -> Any:
    """Return a cell as a timestamp; UsageError for text that is no date, and for numbers, whose unit nobody knows."""
    if isinstance(value, int | float):
        raise UsageError(f"Column {name!r} holds dates, but {value!r} is a number. Give it as a date.")
    if not isinstance(value, str):
        return pd.Timestamp(value)
    if is_missing(value):
        return pd.NaT
    moment = date(value)
    if moment is None:
        raise UsageError(f"Column {name!r} holds dates, but {value[:40]!r} is none. Write it as 2024-12-31.")
    return moment


def as_cycles(frame: pd.DataFrame, periods: Sequence[str]) -> np.ndarray:
    """Return sine and cosine of each period for each column of dates, (rows, 2 * columns * periods)."""
    angles = [2 * np.pi * days / CYCLES[name] for days in as_days(frame).T for name in periods]
    return np.column_stack([wave(angle) for angle in angles for wave in (np.sin, np.cos)])
