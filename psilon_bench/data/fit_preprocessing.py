"""Fits the preprocessing of a table to its training rows: the levels, medians and scales of its columns."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, get_args

import numpy as np
import pandas as pd

from psilon_bench.data import levels
from psilon_bench.data.form import Form
from psilon_bench.data.preprocessing import (
    Cycle,
    DateEncoding,
    Encoding,
    FittedColumn,
    Period,
    Preprocessing,
    Role,
    codes_of,
)
from psilon_bench.data.raw_columns import PLAIN, as_cycles, as_days, as_number, as_text, holds_floats
from psilon_bench.data.standardisation import ScalingName, fit_scaling


def constant_columns(frame: pd.DataFrame) -> list[str]:
    """Return the names of columns that hold one value in all rows, or no value."""
    columns = list(frame)
    if len(frame) and holds_floats(frame):  # to compare is 30 times as fast as to count values
        values = frame.to_numpy()
        same = (values == values[0]) | (np.isnan(values) & np.isnan(values[0]))
        columns = frame.columns[same.all(axis=0)].tolist()
    return [c for c in columns if frame[c].nunique(dropna=False) <= 1]


def fit_preprocessing(
    train: pd.DataFrame,
    categorical: Sequence[str] = (),
    encoding: Encoding = "onehot",
    dates: Sequence[str] = (),
    date_encoding: DateEncoding = "ordinal",
    form: Form = PLAIN,
    weights: np.ndarray | None = None,
    scaling: ScalingName = "standard",
) -> Preprocessing:
    """Return the preprocessing fitted to training rows (rows x columns), of whose columns none is constant.

    `categorical` and `dates` name columns of `train`, where they are there; all others hold numbers. `form` says
    which words and numbers count as missing, and how text spells numbers. `scaling` is that of columns of numbers; days
    and codes are standardised. With weights (rows,), all above 0, a row of weight 2 counts like two equal rows:
    medians, means and standard deviations are weighted.
    """
    numbers = [c for c in train if c not in {*categorical, *dates}]
    text = as_text(train[[c for c in train if c in set(categorical)]], form)
    days = train[[c for c in train if c in set(dates)]]
    columns: list[FittedColumn] = []
    if numbers:
        columns += _scaled(numbers, "number", as_number(train[numbers], form), weights, scaling)
    if text.shape[1]:
        columns += _leveled(text) if encoding == "onehot" else _coded(text, weights)
    if days.shape[1]:
        columns += _dated(days, date_encoding, weights)
    return Preprocessing(missing=form.missing, decimal=form.decimal, thousands=form.thousands, columns=tuple(columns))


def _scaled(
    names: list[str], role: Role, raw: np.ndarray, weights: np.ndarray | None, scaling: ScalingName = "standard"
) -> Iterator[FittedColumn]:
    """Yield columns of numbers or dates, of which `raw` has the numbers (rows, columns)."""
    for name, value, indicator in zip(names, *fit_scaling(raw, weights, scaling), strict=True):
        yield FittedColumn(name=name, role=role, value=value, indicator=indicator)


def _leveled(text: pd.DataFrame) -> Iterator[FittedColumn]:
    """Yield categories in 0/1 columns, whose levels are in the order of their letters."""
    for name in text:
        yield FittedColumn(name=name, role="category", levels=_levels(text[name], str))


def _coded(text: pd.DataFrame, weights: np.ndarray | None) -> Iterator[FittedColumn]:
    """Yield categories as codes, which are in natural order."""
    found = [_levels(text[name], levels.natural) for name in text]
    columns = [FittedColumn(name=name, role="category", levels=own) for name, own in zip(text, found, strict=True)]
    scalings = zip(*fit_scaling(codes_of(text, columns), weights), strict=True)
    for column, (value, indicator) in zip(columns, scalings, strict=True):
        yield column.model_copy(update={"value": value, "indicator": indicator})


def _levels(column: pd.Series, key: Callable[[str], Any]) -> tuple[str | None, ...]:
    """Return the levels of a column in order, with None at the end where a value is missing."""
    return (*sorted(column.dropna().unique(), key=key), *([None] if column.isna().any() else []))


def _dated(frame: pd.DataFrame, encoding: DateEncoding, weights: np.ndarray | None) -> Iterator[FittedColumn]:
    """Yield columns of dates; they have a cycle of the day where some moment of them is not midnight."""
    days = as_days(frame)
    columns = _scaled(list(frame), "date", days, weights)
    if encoding == "ordinal":
        yield from columns
        return
    timed = np.nan_to_num(days % 1).any()
    periods = [period for period in get_args(Period) if timed or period != "day"]
    waves = iter(fit_scaling(as_cycles(frame, periods), weights)[0])
    for column in columns:
        cycles = tuple(Cycle(period=period, sin=next(waves), cos=next(waves)) for period in periods)
        yield column.model_copy(update={"cycles": cycles})
