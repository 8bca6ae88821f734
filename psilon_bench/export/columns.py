"""The fitted preprocessing as a list of features, each made of a raw column by one formula.

value     s = (v - mean) / scale, with v the column as a number, and `fill` where it is missing; where it has a finite
          limit, s / sqrt(1 + (s / limit)^2); where it has knots (s, z), what is linear between them and constant beyond
wave      the same, with v = sin(frequency * column + phase)
missing   (1 - mean) / scale where the column is missing, (0 - mean) / scale elsewhere
level     1 where the column holds this level, 0 elsewhere
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from psilon_bench.data.form import Form
from psilon_bench.data.levels import WHOLE
from psilon_bench.data.preprocessing import FeatureKind, FittedColumn, FittedFeature, Preprocessing
from psilon_bench.data.raw_columns import CYCLES
from psilon_bench.data.standardisation import Imputed, Knots
from psilon_bench.errors import UsageError

ColumnKind = Literal["number", "level", "code", "date"]
RANKS: dict[FeatureKind, int] = {"value": 0, "wave": 1, "missing": 2, "level": 3}


@dataclass(frozen=True)
class Column:
    """A raw column: numbers, days since 1970 in UTC (date), or levels.

    A level stands for its place in `levels` (None: a missing value); it makes 0/1 features, or as a `code` the number
    of its place, and a code of no level is missing. `missing` are words and numbers that mean no value, and
    `missing_numbers` the numbers that a column of numbers takes for none.
    """

    name: str
    role: ColumnKind
    levels: tuple[str | None, ...] = ()
    missing: tuple[str, ...] = ()
    missing_numbers: tuple[float, ...] = ()

    @property
    def is_text(self) -> bool:
        """Return whether the column holds levels, which are text."""
        return self.role in ("level", "code")

    @property
    def num_known(self) -> int:
        """Return the number of levels without the missing one, which has the last place."""
        return len(self.levels) - (None in self.levels)

    def spellings(self) -> dict[str, int]:
        """Return the place of a level for each spelling that arrives: 3 and 3.0, and all words for a missing value."""
        keys = {level: place for place, level in enumerate(self.levels) if level is not None}
        keys |= {f"{level}.0": place for level, place in keys.items() if WHOLE.fullmatch(f"{level}.0")}
        return keys | (dict.fromkeys(["", *self.missing], self.num_known) if None in self.levels else {})


@dataclass(frozen=True)
class Feature:
    """An input of the network, made of the column at this place; the module has the formulas."""

    column: int
    kind: FeatureKind
    fill: float = 0.0
    mean: float = 0.0
    scale: float = 1.0
    frequency: float = 0.0  # in 1 / days
    phase: float = 0.0
    level: int = 0
    limit: float = np.inf
    knots: Knots = ()

    @property
    def rank(self) -> int:
        """Return the place of the kind in the order in which features are made."""
        return RANKS[self.kind]

    def at(self, column: int) -> "Feature":
        """Return the same feature of the column at another place."""
        return replace(self, column=column)


def features_of(preprocessing: object) -> tuple[list[Column], list[Feature]]:
    """Return the raw columns and, in the order of its outputs, the features of a fitted preprocessing.

    Raises UsageError for other preprocessing than that of tables, such as that of images.
    """
    if not isinstance(preprocessing, Preprocessing):
        raise UsageError("psilon-export knows networks on tables, but this one reads images. Take another run.")
    places = {name: place for place, name in enumerate(preprocessing.roles)}
    columns = [_column(fitted, preprocessing.form) for fitted in preprocessing.columns]
    return columns, [_feature(fitted, places[fitted.column.name]) for fitted in preprocessing.features()]


def _column(fitted: FittedColumn, form: Form) -> Column:
    """Return a column of a table in this form; UsageError where the empty text is a level beside a missing value."""
    missing = tuple(map(str, form.missing))
    if fitted.role == "date":
        return Column(fitted.name, "date", missing=missing)
    if fitted.role == "number":
        return Column(fitted.name, "number", missing=missing, missing_numbers=tuple(map(float, form.values)))
    if "" in fitted.levels:
        raise UsageError(
            f"Column {fitted.name!r} cannot be exported: it has the empty text as a level, which means a missing value "
            "there. Give the level a word."
        )
    return Column(fitted.name, "level" if fitted.value is None else "code", fitted.levels, missing)


def _feature(fitted: FittedFeature, place: int) -> Feature:
    """Return a feature of the column at this place; cos(a) = sin(a + pi / 2)."""
    if fitted.scaling is None:
        return Feature(place, "level", level=fitted.level)
    imputed = fitted.scaling if isinstance(fitted.scaling, Imputed) else None
    return Feature(
        place,
        fitted.kind,
        imputed.fill if imputed else 0.0,
        fitted.scaling.mean,
        fitted.scaling.scale,
        0.0 if fitted.period is None else 2 * np.pi / CYCLES[fitted.period],
        np.pi / 2 if fitted.wave == "cos" else 0.0,
        limit=imputed.limit if imputed and imputed.limit else np.inf,
        knots=imputed.knots if imputed else (),
    )
