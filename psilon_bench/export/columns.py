"""The fitted preprocessing as a list of features, each made of a raw column by one formula.

value     (v - mean) / scale, with v the column as a number, and `fill` where it is missing
wave      the same, with v = sin(frequency * column + phase)
missing   (1 - mean) / scale where the column is missing, (0 - mean) / scale elsewhere
level     1 where the column holds this level, 0 elsewhere
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from sklearn.compose import ColumnTransformer

from psilon_bench.data.form import Form
from psilon_bench.data.levels import WHOLE
from psilon_bench.data.preprocessing import CYCLES
from psilon_bench.errors import UsageError

Role = Literal["number", "level", "code", "date"]
FeatureKind = Literal["value", "wave", "missing", "level"]
RANKS: dict[FeatureKind, int] = {"value": 0, "wave": 1, "missing": 2, "level": 3}


@dataclass(frozen=True)
class Column:
    """A raw column: numbers, days since 1970 in UTC (date), or levels.

    A level stands for its place in `levels` (None: a missing value); it makes 0/1 features, or as a `code` the number
    of its place, and a code of no level is missing. `missing` are words and numbers that mean no value.
    """

    name: str
    role: Role
    levels: tuple[str | None, ...] = ()
    missing: tuple[str | float, ...] = ()

    @property
    def is_text(self) -> bool:
        """Return whether the column holds levels, which are text."""
        return self.role in ("level", "code")

    @property
    def missing_numbers(self) -> list[float]:
        """Return the numbers that mean no value."""
        return [float(value) for value in Form(self.missing).values] if self.role == "number" else []

    @property
    def num_known(self) -> int:
        """Return the number of levels without the missing one, which has the last place."""
        return len(self.levels) - (None in self.levels)

    def spellings(self) -> dict[str, int]:
        """Return the place of a level for each spelling that arrives: 3 and 3.0, and all words for a missing value."""
        keys = {level: place for place, level in enumerate(self.levels) if level is not None}
        keys |= {f"{level}.0": place for level, place in keys.items() if WHOLE.fullmatch(f"{level}.0")}
        return keys | (dict.fromkeys(["", *map(str, self.missing)], self.num_known) if None in self.levels else {})


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

    @property
    def rank(self) -> int:
        """Return the place of the kind in the order in which features are made."""
        return RANKS[self.kind]

    def at(self, column: int) -> "Feature":
        """Return the same feature of the column at another place."""
        return replace(self, column=column)


def features_of(transformer: Any) -> tuple[list[Column], list[Feature]]:
    """Return the raw columns and, in the order of its outputs, the features of a fitted transformer.

    Raises UsageError for other preprocessing than that of tables, such as that of images.
    """
    if not isinstance(transformer, ColumnTransformer):
        raise UsageError("psilon-export knows networks on tables, but this one reads images. Take another run.")
    columns: dict[str, Column] = {}
    features: list[Feature] = []
    for part, steps, names in transformer.transformers_:
        if part == "remainder" or not len(names):
            continue
        for column in COLUMNS[part](steps.named_steps, list(names)):
            columns.setdefault(column.name, column)
        places = [list(columns).index(name) for name in names]
        features += FEATURES[part](steps.named_steps, places)
    return list(columns.values()), features


def _numbers(steps: Any, names: list[str]) -> Iterator[Column]:
    """Yield columns of numbers."""
    for name in names:
        yield Column(name, "number", missing=tuple(steps["number"].kw_args["missing"]))


def _dates(_steps: Any, names: list[str]) -> Iterator[Column]:
    """Yield columns of dates."""
    for name in names:
        yield Column(name, "date")


def _levels(steps: Any, names: list[str]) -> Iterator[Column]:
    """Yield columns of levels; UsageError where the empty text is a level beside a missing value."""
    for name, found in zip(names, steps["encode"].categories_, strict=True):
        levels = tuple(None if level != level else str(level) for level in found)
        if "" in levels:
            raise UsageError(
                f"Column {name!r} cannot be exported: it has the empty text as a level, which means a missing value "
                "there. Give the level a word."
            )
        role: Role = "code" if "scale" in steps else "level"
        yield Column(name, role, levels, tuple(steps["text"].kw_args["missing"]))


def _scaled(steps: Any, places: list[int], **more: Any) -> list[Feature]:
    """Return the features of columns of numbers, codes or dates: their values, then what is missing."""
    impute, scale = steps["impute"], steps["scale"]
    holes = impute.indicator_.features_.tolist() if impute.add_indicator else []
    means, scales = scale.mean_.tolist(), scale.scale_.tolist()
    fills = impute.statistics_.tolist()
    count = len(places)
    values = [
        Feature(place, "value", fill, mean, size, **more)
        for place, fill, mean, size in zip(places, fills, means[:count], scales[:count], strict=True)
    ]
    missing = [
        Feature(places[hole], "missing", 0.0, mean, size)
        for hole, mean, size in zip(holes, means[count:], scales[count:], strict=True)
    ]
    return values + missing


def _encoded(steps: Any, places: list[int]) -> list[Feature]:
    """Return the features of columns of levels: 0/1 columns, or their codes as numbers."""
    if "scale" in steps:
        return _scaled(steps, places)
    categories = steps["encode"].categories_
    return [
        Feature(place, "level", level=level)
        for place, found in zip(places, categories, strict=True)
        for level in range(len(found))
    ]


def _cycles(steps: Any, places: list[int]) -> list[Feature]:
    """Return sine and cosine of the place in each cycle, column by column; cos(a) = sin(a + pi / 2)."""
    periods = [CYCLES[name] for name in steps["number"].kw_args["periods"]]
    waves = [(place, 2 * np.pi / days, phase) for place in places for days in periods for phase in (0.0, np.pi / 2)]
    fills, means, scales = steps["impute"].statistics_, steps["scale"].mean_, steps["scale"].scale_
    return [
        Feature(place, "wave", float(fill), float(mean), float(size), frequency, phase)
        for (place, frequency, phase), fill, mean, size in zip(waves, fills, means, scales, strict=True)
    ]


COLUMNS: dict[str, Callable[[Any, list[str]], Iterator[Column]]] = {
    "number": _numbers,
    "category": _levels,
    "date": _dates,
    "cycle": _dates,
}
FEATURES: dict[str, Callable[[Any, list[int]], list[Feature]]] = {
    "number": _scaled,
    "category": _encoded,
    "date": _scaled,
    "cycle": _cycles,
}
