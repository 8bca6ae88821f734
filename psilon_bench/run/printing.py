"""Tables and lines on a terminal of any width. Whatever is printed is data, never markup."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table
from rich.text import Text

ROOM_FOR_BAR = 96  # letters of a terminal from which on progress has a bar and the time that has passed,
ROOM_FOR_LOSS = 72  # and the loss
NUMBERS = 24  # letters that counts and times of progress take, beside its name
NARROW = 15  # letters for each column of a table; on a terminal with less it is a list
WIDE = 1.25  # an estimate is shown as a range where an end is so many times off


@dataclass(frozen=True)
class Range:
    """An estimate between two ends, which is shown as one number where the ends are close to it."""

    estimate: float
    low: float
    high: float

    def __add__(self, other: "Range") -> "Range":
        return Range(self.estimate + other.estimate, self.low + other.low, self.high + other.high)

    def __str__(self) -> str:
        is_wide = self.high > WIDE * self.estimate or WIDE * self.low < self.estimate
        return f"{self.low:.0f} to {self.high:.0f}" if is_wide else f"{self.estimate:.0f}"


def plain_console(**how: Any) -> Console:
    """Return a console on which [b] and :smile: are letters like others."""
    console = Console(highlight=False, markup=False, emoji=False, **how)
    if console.width < 1:  # COLUMNS=0: nobody knows
        console.width = 80
    return console


def progress_columns(width: int) -> list[ProgressColumn]:
    """Return the columns of progress that a terminal has room for: name, count and time left, then loss, then a bar."""
    loss = TextColumn("{task.fields[what]}", markup=False)
    left = [TextColumn("ETA"), TimeRemainingColumn()]
    name = Column(no_wrap=True, overflow="ellipsis", max_width=max(1, width - NUMBERS))
    columns = [TextColumn("{task.description}", markup=False, table_column=name), MofNCompleteColumn()]
    if width < ROOM_FOR_LOSS:
        return [*columns, *left]
    if width < ROOM_FOR_BAR:
        return [*columns, loss, *left]
    return [columns[0], BarColumn(), columns[1], loss, TimeElapsedColumn(), *left]


def folding(*headers: str) -> list[Column]:
    """Return columns whose cells go on in the next line."""
    return [Column(header, overflow="fold") for header in headers]


def laid_out(console: Console, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> Table | Text:
    """Return a table; for a narrow terminal a list, of names and below each its values, as many in a line as fit."""
    if console.width >= NARROW * len(columns):
        table = Table(*columns)
        for row in rows:
            table.add_row(*row)
        return table
    if len(columns) == 2:
        return Text("\n".join(f"  {name} {value}" for name, value in rows if value))
    lines = []
    for name, *values in rows:
        named = [f"{column.header} {value}" for column, value in zip(columns[1:], values, strict=True) if value]
        lines += [name, *packed([text.strip() for text in named], "  ", console.width)]
    return Text("\n".join(lines))


def packed(texts: Sequence[str], indent: str, width: int) -> list[str]:
    """Return the texts in lines of at most this width, separated by commas; none is broken, however long it is."""
    lines: list[str] = []
    for text in texts:
        if lines and len(lines[-1]) + len(", ") + len(text) <= width:
            lines[-1] += f", {text}"
        else:
            lines.append(indent + text)
    return lines
