"""From a column of text to numbers, truth values, dates or levels; a cell without a meaning is an error.

Each rule looks at the different words of a column, and at the number of cells that hold each.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from psilon_bench.data import checks, form
from psilon_bench.data.form import Form
from psilon_bench.data.setting import setting
from psilon_bench.errors import UsageError

Role = Literal["number", "level", "date"]
Mask = np.ndarray  # of bool, one a word
Values = Sequence[int | float | None]  # what each word says; truth values are integers
TRUTH = {"True": True, "TRUE": True, "true": True, "False": False, "FALSE": False, "false": False}
MOSTLY = 0.95  # of the cells are numbers: the others are mistakes, not levels
MANY = 20  # so many different numbers in half of the cells are no levels either
SHOWN = 3  # words in a message


@dataclass(frozen=True)
class TextColumn:
    """The different words of a column of text, and which cell holds which word."""

    name: str
    words: list[str]
    codes: np.ndarray  # of every cell the place of its word, -1: nothing
    form: Form
    place: Callable[[int], str]  # of a row counted from 0: "line 17 of my.csv"
    typed: bool  # its file calls it text: what is empty is a level, and so are numbers
    target: bool = False
    classes: bool = False  # a target that is said to be classes: words as they are written, numbers or not
    taken: dict[str, int] = field(default_factory=dict)  # word -> how many of its cells count as missing
    notes: list[str] = field(default_factory=list)
    merged: list[str] = field(default_factory=list)  # notes that hold if the column is read as classes

    @classmethod
    def of(cls, name: str, cells: pa.ChunkedArray, **about: Any) -> "TextColumn":
        """Return the column of these cells; `about` are the other fields."""
        array = cells.cast(pa.large_string()).combine_chunks().dictionary_encode()
        return cls(name, array.dictionary.to_pylist(), array.indices.fill_null(-1).to_numpy(), **about)

    def read(self) -> tuple[pd.Series, Role]:
        """Return the values (rows,) as what most cells are, and which role that is.

        Raises UsageError where the other cells have no meaning then.
        """
        if not self.content.any():
            nothing = self._series([None] * len(self.words)).astype(float)
            return self._noted_levels() if self.usual.any() else (nothing, "number")
        if all(word in TRUTH for word in self._of(self.content)):
            truth = [TRUTH.get(word) for word in self.words]
            return self._classes(truth) if self.classes else self._truth(truth)
        numbers = [self.form.number(word) for word in self.words]
        dates = [form.date(word) for word in self.words]
        dated = any(value is not None for value in dates) and all(value is None for value in numbers)
        parsed = np.array([value is not None for value in (dates if dated else numbers)]) & self.content
        self._check_others(parsed, "dates" if dated else "numbers")
        if (self.content & ~parsed).any():
            return self._noted_levels()
        if dated:
            return pd.to_datetime(self._series(dates)), "date"
        return self._classes(numbers) if self.classes else self._numbers(numbers)

    def levels(self) -> tuple[pd.Series, Role]:
        """Return the words as they are; missing are empty cells and the words of dataset.missing."""
        return self._series(self.words, self.absent).astype("str"), "level"

    def _noted_levels(self) -> tuple[pd.Series, Role]:
        """Return the words as levels, with a note on words that would be missing among numbers."""
        kept = [word for word in self._of(self.usual) if word]
        if kept:
            missing = setting("dataset.missing", kept)
            self.notes.append(f"{checks.name_list(kept)} in {self.name!r}: levels, unless {missing}")
        return self.levels()

    @cached_property
    def absent(self) -> Mask:
        """Return the mask (words,) of words that are missing in a column of any role."""
        told = [self.form.names(word) for word in self.words]
        return np.array(told, dtype=bool) | np.array([not (self.typed or w.strip()) for w in self.words], dtype=bool)

    @cached_property
    def usual(self) -> Mask:
        """Return the mask (words,) of words that are missing in a column of numbers or dates alone."""
        return np.array([form.is_missing(word) for word in self.words], dtype=bool) & ~self.absent

    @cached_property
    def content(self) -> Mask:
        """Return the mask (words,) of words that are never missing."""
        return ~self.absent & ~self.usual

    def _of(self, mask: Mask) -> list[str]:
        """Return the words of a mask."""
        return [self.words[index] for index in np.flatnonzero(mask)]

    @cached_property
    def _counts(self) -> np.ndarray:
        """Return how many cells hold each word, (words,)."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.words))

    def _series(self, values: list[Any], missing: Mask | None = None) -> pd.Series:
        """Return a value for each cell from a value for each word, and count which words are taken as missing."""
        missing = ~self.content if missing is None else missing
        self.taken.update({self.words[i].strip(): int(self._counts[i]) for i in np.flatnonzero(missing)})
        kept = [None if gone else value for value, gone in zip(values, missing, strict=True)]
        lookup = np.empty(len(kept) + 1, dtype=object)
        lookup[:-1], lookup[-1] = kept, None
        return pd.Series(lookup[self.codes], name=self.name)

    def _classes(self, values: Values) -> tuple[pd.Series, Role]:
        """Return the words as classes, less spaces around them: 007 and 7 are two, whatever value they both say.

        Missing is what is missing among numbers or truth values, and what dataset.missing names, by word or by value.
        """
        spelled = self._spelled_differently(values)
        if spelled:
            self.notes.append(f"different classes in {self.name!r}, for dataset.kind=classes keeps words: {spelled}")
        named = np.array([not isinstance(value, bool) and value in self.form.values for value in values], dtype=bool)
        return self._series([word.strip() for word in self.words], ~self.content | named).astype("str"), "level"

    def _truth(self, truth: list[bool | None]) -> tuple[pd.Series, Role]:
        """Return the column as truth values."""
        self._note_merged(truth)
        return self._series(truth).astype("boolean"), "number"

    def _note_merged(self, values: Values) -> None:
        """Keep the note on words of a target that would be one class because they say one value."""
        spelled = self._spelled_differently(values) if self.target else ""
        if spelled:
            kept = "dataset.kind=classes keeps them apart"
            self.merged.append(f"one class in {self.name!r}, for they are one value: {spelled}; {kept}")

    def _spelled_differently(self, values: Values) -> str:
        """Return the words, less spaces around them, that say the same value: `007 and 7`; nothing where none do."""
        found: dict[int | float | None, set[str]] = {}
        for word, value, has in zip(self.words, values, self.content, strict=True):
            if has:
                found.setdefault(value, set()).add(word.strip())
        return checks.name_list([" and ".join(sorted(words)) for words in found.values() if len(words) > 1], SHOWN)

    def _numbers(self, numbers: list[int | float | None]) -> tuple[pd.Series, Role]:
        """Return the column as integers where all are whole and fit 64 bits, else as floats.

        Numbers that a file calls text are levels, and so are numbers of a target that fit no integer type.
        """
        if self.typed and not self.usual.any():
            self._check_typed()
            self.notes.append(f"{self.name!r} holds numbers that its file calls text: levels")
            return self.levels()
        kept = [value for value, has in zip(numbers, self.content, strict=True) if has and isinstance(value, int)]
        if len(kept) < self.content.sum():
            self._note_merged(numbers)
            return self._series(numbers).astype(float), "number"
        for dtype, low, high in (("Int64", -(2**63), 2**63), ("UInt64", 0, 2**64)):
            if low <= min(kept) and max(kept) < high:
                self._note_merged(numbers)
                return self._series(numbers).astype(dtype), "number"
        return self.levels() if self.target else (self._series(numbers).astype(float), "number")

    def _check_others(self, parsed: Mask, what: str) -> None:
        """Raise UsageError where most cells are numbers or dates, some with separators, and the others no levels."""
        odd = self.content & ~parsed
        separated = np.array([what == "numbers" and form.is_separated(word) for word in self.words]) & odd
        errors = np.array([form.is_error(word) for word in self.words]) & odd
        near, other = self._cells(parsed | separated), self._cells(odd & ~separated & ~errors)
        many = parsed.sum() > MANY and near >= other
        if odd.any() and near and not self.classes and (near >= MOSTLY * (near + other) or many):
            raise UsageError(self._told(odd, separated, what))

    def _told(self, odd: Mask, separated: Mask, what: str) -> str:
        """Return the message on cells that are no numbers (or dates), with the settings that would make them such."""
        ways = separators(self._of(self.content & (separated | ~odd))) if separated.any() else []
        wrong = odd & ~separated if ways else odd
        if self._cells(separated) > self._cells(self.content) / 2 and not ways:
            ways, wrong = ["dataset.decimal and dataset.thousands once cells have no units such as %"], odd & ~odd
        missing = setting("dataset.missing", self._of(wrong)[:SHOWN])
        remedies = [*ways, *([f"{missing} where that is missing"] if wrong.any() else [])]
        return (
            f"Column {self.name!r} must hold {what} or levels, but {self._cells(odd)} of its {len(self.codes)} cells "
            f"are no {what}: {self._shown(odd)}. Correct the file, or set {', or '.join(remedies)}, or "
            f"{setting('dataset.categorical', [self.name])} for a column of levels."
        )

    def _shown(self, mask: Mask) -> str:
        """Return some words of a mask, the first line that holds each, and in how many cells it stands."""
        found = np.flatnonzero(mask)
        parts = []
        for index in found[:SHOWN]:
            first, count = int(np.argmax(self.codes == index)), self._counts[index]
            parts.append(f"{self.words[index][:40]!r} in {self.place(first)}{f' ({count} times)' if count > 1 else ''}")
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        return ", ".join(parts) + more

    def _check_typed(self) -> None:
        """Raise UsageError for numbers that a file calls text where they are too many to be levels."""
        if self.content.sum() > MANY:
            raise UsageError(
                f"Column {self.name!r} holds numbers ({self._shown(self.content)}), but its file calls it text. Store "
                f"it as numbers, or set {setting('dataset.categorical', [self.name])} for a column of levels."
            )

    def _cells(self, mask: Mask) -> int:
        """Return how many cells hold the words of a mask."""
        return int(self._counts[mask].sum())


WRITTEN: tuple[dict[str, Any], ...] = (
    {"decimal": "."},
    {"thousands": ","},
    {"decimal": ","},
    {"thousands": ".", "decimal": ","},
    {"thousands": " "},
)


def separators(words: list[str]) -> list[str]:
    """Return the settings by which all these words are numbers, two at most."""
    fitting = [way for way in WRITTEN if all(Form(**way).number(word) is not None for word in words)]
    return [" ".join(setting(f"dataset.{key}", mark) for key, mark in way.items()) for way in fitting[:2]]
