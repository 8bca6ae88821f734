"""From raw rows of a table to inputs of a network, by plain numbers and levels that the training rows alone decide.

Numbers: the median replaces missing values (with an indicator column where training rows lack some), then they are
scaled (data/standardisation.py has how).
Categories, `onehot`: one 0/1 column per level of the training rows; a missing value is a level, and an unseen level is
all zeros.
Categories, `codes`: the number of the level in order (numbers by value, then text), from there on treated as a number;
an unseen level is missing.
Dates, `ordinal`: days since 1970, treated as a number; `cyclic`: sine and cosine of the place in the year, the week
and the day stand beside it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import model_validator

from psilon_bench.data.form import Form
from psilon_bench.data.raw_columns import as_cycles, as_days, as_number, as_text
from psilon_bench.data.standardisation import FittedData, Imputed, Scaling, imputed, standardised
from psilon_bench.errors import UsageError

Encoding = Literal["onehot", "codes"]
DateEncoding = Literal["ordinal", "cyclic"]
Role = Literal["number", "category", "date"]
Period = Literal["year", "week", "day"]
Wave = Literal["sin", "cos"]
FeatureKind = Literal["value", "wave", "missing", "level"]
ROLES: tuple[Role, ...] = ("number", "category", "date")  # in this order their features are made


class Cycle(FittedData):
    """Sine and cosine of a date's place in a period, standardised; their medians stand for a missing date."""

    period: Period
    sin: Imputed
    cos: Imputed

    @property
    def waves(self) -> dict[Wave, Imputed]:
        """Return the two by name, in the order in which they are made."""
        return {"sin": self.sin, "cos": self.cos}


class FittedColumn(FittedData):
    """What the training rows say of a raw column.

    value: of a number, of the days of a date, or of the codes of a category; None for a category in 0/1 columns.
    indicator: the scaling of the column that says what is missing; None where no training row lacks a value.
    levels: those of a category; a missing value, None, has the last place. cycles: those of a date.
    """

    name: str
    role: Role
    value: Imputed | None = None
    indicator: Scaling | None = None
    levels: tuple[str | None, ...] = ()
    cycles: tuple[Cycle, ...] = ()

    @model_validator(mode="after")
    def _fits_its_role(self) -> "FittedColumn":
        """Raise ValueError for levels of no category, cycles of no date, and levels that repeat or are out of place."""
        known = set(self.levels)
        if (self.role == "category") != bool(known) or (self.cycles and self.role != "date"):
            raise ValueError(f"column {self.name!r}: levels are of categories, and cycles of dates")
        if len(known) < len(self.levels) or None in self.levels[:-1]:
            raise ValueError(f"column {self.name!r}: levels differ, and a missing one is the last")
        if self.value is None and (self.role != "category" or self.indicator is not None):
            raise ValueError(f"column {self.name!r}: only a category may lack a value, and then has no indicator")
        return self

    @property
    def places(self) -> dict[str | None, int]:
        """Return the place of each level."""
        return {level: place for place, level in enumerate(self.levels)}


@dataclass(frozen=True)
class FittedFeature:
    """An input of the network, made of a raw column.

    level: the place of a level. period and wave: those of a cycle.
    """

    name: str
    column: FittedColumn
    kind: FeatureKind
    scaling: Scaling | None = None  # None: a 0/1 column
    level: int = 0
    period: Period | None = None
    wave: Wave | None = None


class Preprocessing(FittedData):
    """The fitted preprocessing of a table: `transform` makes inputs (rows, features) of raw rows (rows x columns).

    `columns` are those that it reads, numbers first, then categories, then dates; others may come along and are
    ignored, such as the target. `missing` are words and numbers that count as missing; `decimal` and `thousands` are
    the marks in numbers that arrive as text. All three are those of the training table.
    """

    kind: Literal["table"] = "table"
    missing: tuple[str | int | float, ...]
    decimal: str
    thousands: str | None
    columns: tuple[FittedColumn, ...]

    @model_validator(mode="after")
    def _is_in_order(self) -> "Preprocessing":
        """Raise ValueError for columns that repeat or are in another order, and for two encodings of categories."""
        roles = [ROLES.index(column.role) for column in self.columns]
        if roles != sorted(roles) or len(self.roles) < len(self.columns):
            raise ValueError(f"columns must differ, and be in the order {', '.join(ROLES)}")
        if len({column.value is None for column in self.of("category")}) > 1:
            raise ValueError("categories are 0/1 columns or codes, all of them")
        if len({tuple(cycle.period for cycle in column.cycles) for column in self.of("date")}) > 1:
            raise ValueError("dates have the same cycles, all of them")
        return self

    @cached_property
    def form(self) -> Form:
        """Return how cells of text say numbers and missing values."""
        return Form(self.missing, self.decimal, self.thousands)

    @property
    def roles(self) -> dict[str, Role]:
        """Return the columns that are needed, and of each what it holds."""
        return {column.name: column.role for column in self.columns}

    def of(self, role: Role) -> list[FittedColumn]:
        """Return the columns of a role."""
        return [column for column in self.columns if column.role == role]

    def features(self) -> Iterator[FittedFeature]:
        """Yield the features in the order of the inputs: by role values or levels, then indicators; cycles last."""
        for role in ROLES:
            columns = self.of(role)
            for column in columns:
                yield from _values(column)
            for column in columns:
                if column.indicator is not None:
                    yield FittedFeature(f"missingindicator_{column.name}", column, "missing", column.indicator)
        for column in self.of("date"):
            for cycle in column.cycles:
                for wave, value in cycle.waves.items():
                    name = f"{column.name}_{cycle.period}_{wave}"
                    yield FittedFeature(name, column, "wave", value, period=cycle.period, wave=wave)

    @property
    def feature_names(self) -> list[str]:
        """Return the name of each input."""
        return [feature.name for feature in self.features()]

    @property
    def input_columns(self) -> list[str]:
        """Return the column that each input is made of."""
        return [feature.column.name for feature in self.features()]

    @property
    def input_scales(self) -> list[float]:
        """Return raw units per unit of each input: the scale of a number or code, 1 for a 0/1 column.

        Where numbers are clipped, a unit of the input is that many raw units near the median, and more away from it.
        """
        return [1.0 if feature.scaling is None else feature.scaling.scale for feature in self.features()]

    def transform(self, rows: pd.DataFrame) -> np.ndarray:
        """Return the inputs of raw rows, float64 (rows, features).

        Raises UsageError for what is no data frame, for cells that say no number or no date where the column holds
        such, and for infinite numbers.
        """
        if not isinstance(rows, pd.DataFrame):
            raise UsageError(
                f"New rows must be a pandas.DataFrame with columns by name, but are a {type(rows).__name__}. "
                "Convert them."
            )
        if not len(rows):
            return np.empty((0, len(self.feature_names)))
        numbers, categories, dates = (self.of(role) for role in ROLES)
        blocks = []
        if numbers:
            blocks.append(_with_indicators(as_number(rows[_names(numbers)], self.form), numbers))
        if categories:
            blocks.append(_encoded(self._text(rows, categories), categories))
        if dates:
            blocks.append(_with_indicators(as_days(rows[_names(dates)]), dates))
        if dates and dates[0].cycles:
            waves = as_cycles(rows[_names(dates)], [cycle.period for cycle in dates[0].cycles])
            found = [value for column in dates for cycle in column.cycles for value in cycle.waves.values()]
            blocks.append(imputed(waves, found))
        return np.hstack(blocks)

    def _text(self, rows: pd.DataFrame, columns: Sequence[FittedColumn]) -> pd.DataFrame:
        """Return columns of levels as text, NaN where missing; blank cells are, unless training rows had such a level.

        A file of text has blank cells for what is missing.
        """
        text = as_text(rows[_names(columns)], self.form)
        for column in columns:
            cells = text[column.name]
            blank = [word for word in cells.dropna().unique() if word not in column.places and not word.strip()]
            text[column.name] = cells.mask(cells.isin(blank)) if blank else cells
        return text

    def missing_columns(self, rows: pd.DataFrame) -> list[str]:
        """Return the columns that are needed and that `rows` lacks."""
        return [name for name in self.roles if name not in rows]

    def unseen_levels(self, rows: pd.DataFrame) -> dict[str, list[str]]:
        """Return by column of levels those that no training row had, one for each row that holds such a level."""
        new: dict[str, list[str]] = {}
        for column in self.of("category"):
            text = self._text(rows, [column])[column.name]
            known = text.isin(column.places) | (text.isna() if None in column.levels else False)
            new[column.name] = text[~known].fillna("missing").tolist()
        return new


def _values(column: FittedColumn) -> Iterator[FittedFeature]:
    """Yield the value of a column, or its levels."""
    if column.value is not None:
        yield FittedFeature(column.name, column, "value", column.value)
        return
    for place, level in enumerate(column.levels):
        yield FittedFeature(f"{column.name}={'missing' if level is None else level}", column, "level", None, place)


def _names(columns: Sequence[FittedColumn]) -> list[str]:
    """Return the names of columns."""
    return [column.name for column in columns]


def _with_indicators(raw: np.ndarray, columns: Sequence[FittedColumn]) -> np.ndarray:
    """Return columns of numbers (rows, columns) as inputs: their values, then the indicators of those that have one.

    Raises UsageError for infinite numbers.
    """
    infinite = np.isinf(raw)
    if infinite.any():
        place = int(infinite.any(axis=0).argmax())
        rows = np.flatnonzero(infinite[:, place])
        raise UsageError(
            f"Numbers must be finite, but column {columns[place].name!r} has {len(rows)} infinite values, "
            f"the first in row {rows[0] + 1}. Replace them, or leave the cells empty to have them imputed."
        )
    values = imputed(raw, [column.value for column in columns if column.value is not None])
    marked = [column.indicator is not None for column in columns]
    absent = np.isnan(raw[:, marked]).astype(float)
    return np.hstack([values, standardised(absent, [c.indicator for c in columns if c.indicator is not None])])


def _encoded(text: pd.DataFrame, columns: Sequence[FittedColumn]) -> np.ndarray:
    """Return columns of levels as inputs: as 0/1 columns, or their codes as numbers."""
    if columns[0].value is not None:
        return _with_indicators(codes_of(text, columns), columns)
    blocks = []
    for column, codes in zip(columns, codes_of(text, columns).T, strict=True):
        block = (codes[:, None] == np.arange(len(column.levels))).astype(float)
        if None in column.levels:
            block[:, -1] = text[column.name].isna()
        blocks.append(block)
    return np.hstack(blocks)


def codes_of(text: pd.DataFrame, columns: Sequence[FittedColumn]) -> np.ndarray:
    """Return the places of levels, float64 (rows, columns), NaN for missing and for unseen ones."""
    coded = []
    for column in columns:
        codes, found = pd.factorize(text[column.name])
        places = column.places
        coded.append(np.array([*(places.get(level, np.nan) for level in found), np.nan])[codes])
    return np.column_stack(coded)
