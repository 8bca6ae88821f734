"""How numbers, dates and missing values are written in cells of text."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

MISSING = frozenset({"", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "null", "none", "?"})  # in columns of numbers
SPREADSHEET_ERROR = re.compile(r"#(DIV/0!|VALUE!|REF!|NAME\?|NUM!|NULL!)")
GROUPED = r"\d{1,3}([,.'\u00a0\u202f ])\d{3}(\2\d{3})*((?!\2)[.,]\d+)?"  # 1,234,567.89
SEPARATED = re.compile(rf"[+-]?[$€£]? ?({GROUPED}|\d+([.,]\d+)?) ?[%$€£]?")


@dataclass(frozen=True)
class Form:
    """The spelling of numbers and missing values, as dataset.missing, dataset.decimal and dataset.thousands set it."""

    missing: tuple[str | float, ...] = ()  # besides MISSING in numbers and dates, and in levels too
    decimal: str = "."
    thousands: str | None = None

    @cached_property
    def words(self) -> frozenset[str]:
        """Return the entries of `missing` as text."""
        return frozenset(str(word) for word in self.missing)

    def names(self, word: str) -> bool:
        """Tell whether `missing` has a word, with or without the spaces around it."""
        return word in self.words or word.strip() in self.words

    @cached_property
    def values(self) -> list[float]:
        """Return the entries of `missing` that are numbers, or words which say numbers as this form spells them."""
        found = [self.number(word) if isinstance(word, str) else word for word in self.missing]
        return [value for value in found if value is not None]

    @property
    def plain(self) -> bool:
        """Tell whether numbers are written as programs write them: with a decimal point and without separators."""
        return self.decimal == "." and self.thousands is None

    @property
    def marks(self) -> str:
        """Return in words which marks numbers have; nothing where they are as programs write them."""
        if self.plain:
            return ""
        thousands = "none" if self.thousands is None else repr(self.thousands)
        return f"decimal {self.decimal!r}, thousands {thousands}"

    def number(self, word: str) -> int | float | None:
        """Return the number that a cell says; None for a cell that says no number."""
        text = word.strip()
        if self.thousands is not None and self.thousands in text:
            mark = re.escape(self.thousands)
            if not re.match(rf"[+-]?[1-9]\d{{0,2}}({mark}\d{{3}})+(?!\d|{mark})", text):
                return None
            text = text.replace(self.thousands, "")
        if self.decimal != ".":
            text = text.replace(".", "_").replace(self.decimal, ".")
        if "_" in text or text.lower() in MISSING:  # Python reads 1_000 and nan
            return None
        for kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                continue
        return None


def date(word: str) -> datetime | None:
    """Return the day or moment of a word in ISO 8601 (2024-12-31, 2024-12-31T23:59:59+01:00); None for any other word.

    A moment that names its time zone is converted to UTC.
    """
    if "-" not in word:
        return None
    try:
        moment = datetime.fromisoformat(word.strip())
    except ValueError:
        return None
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def is_missing(word: str) -> bool:
    """Tell whether a cell among numbers or dates says that its value is missing."""
    return word.strip().lower() in MISSING


def is_error(word: str) -> bool:
    """Tell whether a cell is the error that a spreadsheet writes in place of a result, such as #DIV/0!."""
    return SPREADSHEET_ERROR.fullmatch(word.strip()) is not None


def is_separated(word: str) -> bool:
    """Tell whether a cell looks like a number with separators or a unit: 1,234 or 1.234,50 or $5 or 12%."""
    return SEPARATED.fullmatch(word.strip()) is not None
