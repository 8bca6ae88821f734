"""From text with separators (CSV, TSV) to cells of text: each line must have as many fields as the header.

pyarrow parses. The csv module reads the header, and tells on which line a row begins where that cannot be counted.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.csv as pa_csv

from psilon_bench.data.setting import setting
from psilon_bench.errors import UsageError

SPACES = "spaces"  # as many as there are
SEPARATORS = (",", ";", "\t", "|", SPACES)
BLOCK_BYTES = 1 << 26  # bytes that are parsed at a time; a line must fit


def native(content: bytes) -> pa.BufferReader:
    """Return the bytes in a buffer of Arrow's memory.

    Arrow's threads may let go of their input after the call, and letting go of Python's memory at exit aborts.
    """
    copy = pa.BufferOutputStream()
    copy.write(content)
    return pa.BufferReader(copy.getvalue())


@dataclass(frozen=True)
class Text:
    """The text of a file and the separator of its fields."""

    content: str
    file: str
    separator: str  # "": the one that makes most fields of the header

    def separated_by(self, mark: str) -> "Text":
        """Return the text with this separator; runs of spaces become one space, in the same lines."""
        if mark != SPACES:
            return replace(self, separator=mark)
        lines = (" ".join(line.split()) for line in io.StringIO(self.content, newline=None))
        return replace(self, content="\n".join(lines), separator=" ")

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the line that each row ends on and the fields of the row; an empty line is a row without fields."""
        reader = csv.reader(io.StringIO(self.content, newline=""), delimiter=self.separator)
        for row in reader:
            yield reader.line_num, row

    def starts(self) -> Iterator[int]:
        """Yield the line that each row begins on, the header's first."""
        before = 0
        for line, row in self.rows():
            if row:
                yield before + 1
            before = line


@dataclass(frozen=True)
class Head:
    """The names of the header, the line it ends on, and the fields of the first row below it."""

    names: list[str]
    line: int
    first: list[str]

    @classmethod
    def of(cls, text: Text) -> "Head":
        """Return the header of a text; ValueError where it has no columns."""
        rows = ((line, row) for line, row in text.rows() if row)
        line, names = next(rows, (0, []))
        if not names:
            raise ValueError("No columns to read from file")
        return cls([name.strip() for name in names], line, next(rows, (0, names))[1])

    def widened(self) -> list[str]:
        """Return the names, with empty names where the first row, or the header alone, ends in separators."""
        extra = len(self.first) - len(self.names)
        if extra > 0 and not any(field.strip() for field in self.first[len(self.names) :]):
            return [*self.names, *[""] * extra]
        if extra < 0 and not any(self.names[len(self.first) :]):
            return self.names[: len(self.first)]
        return self.names


def read_separated(text: Text) -> tuple[pa.Table, Sequence[int], list[str]]:
    """Return the columns as text (rows x columns), the line that each row begins on, and notes.

    Raises UsageError where a line has another number of fields than the header, or where the separator cannot be right.
    """
    notes: list[str] = []
    if not text.separator:
        text = replace(text, separator=_likely(text))
        notes.append(f"separator inferred from the header: {text.separator!r}")
    text = text.separated_by(text.separator)
    head = Head.of(text)
    names = head.widened()
    _check_separator(text, names)
    table, odd = _parsed(text, names, head.line)
    if odd:
        row = odd[0].number - head.line - 1
        raise _uneven(text, head, [*text.starts()][row + 1], odd[0].actual_columns, len(odd), odd[0].text)
    lines = _lines(text, head, len(table))
    return _named(text, table, head, names, lines, notes), lines, notes


def _likely(text: Text) -> str:
    """Return the separator that makes most names of the header.

    Spaces, which may stand in names, are taken where no other separator makes two names.
    """
    names = {mark: len(Head.of(text.separated_by(mark)).names) for mark in SEPARATORS[:-1]}
    return max(names, key=lambda mark: names[mark]) if max(names.values()) > 1 else SPACES


def _parsed(text: Text, names: list[str], skip: int) -> tuple[pa.Table, list[pa_csv.InvalidRow]]:
    """Return the cells as text, and the rows that have another number of fields."""
    columns = [str(index) for index in range(len(names))]
    odd: list[pa_csv.InvalidRow] = []

    def note(row: pa_csv.InvalidRow) -> str:
        odd.append(row)
        return "skip"

    table = pa_csv.read_csv(
        native(text.content.encode()),
        pa_csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES, skip_rows=skip, column_names=columns),
        pa_csv.ParseOptions(delimiter=text.separator, newlines_in_values=True, invalid_row_handler=note),
        pa_csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.string()), null_values=[]),
    )
    return table, odd


def _lines(text: Text, head: Head, rows: int) -> Sequence[int]:
    """Return the line that each row below the header begins on.

    Where no line is empty and no cell spans lines, they are counted, and the text is not read again.
    """
    if text.content.count("\n") + (not text.content.endswith("\n")) == head.line + rows:
        return range(head.line + 1, head.line + rows + 1)
    return [*text.starts()][1:]


def _check_separator(text: Text, names: list[str]) -> None:
    """Raise UsageError where the header is one field that holds another separator."""
    other = _others(text, names)
    if len(names) == 1 and other:
        raise UsageError(
            f"A table has several columns, but separated by {text.separator!r} {text.file} has one, {names[0][:60]!r}. "
            f"Set {setting('dataset.sep', other[0])}."
        )


def _others(text: Text, names: list[str]) -> list[str]:
    """Return the other separators that stand in these names."""
    return [mark for mark in SEPARATORS[:-1] if mark != text.separator and mark in "".join(names)]


def _uneven(text: Text, head: Head, line: int, fields: int, number: int, shown: str) -> UsageError:
    """Return the error for a line whose number of fields is not that of the header."""
    others = _others(text, head.names)
    hint = f"set {setting('dataset.sep', others[0])}" if others else "set dataset.sep where another separator is meant"
    more = f"; {number} lines differ" if number > 1 else ""
    return UsageError(
        f"Each line must have as many fields as the header, but the header of {text.file} has {len(head.names)} and "
        f"line {line} has {fields} ({' '.join(shown.split())[:60]!r}){more}. Correct the header or the line, or {hint}."
    )


def _named(
    text: Text, table: pa.Table, head: Head, names: list[str], lines: Sequence[int], notes: list[str]
) -> pa.Table:
    """Return the columns under their names.

    Empty columns without a name are left out, and so is a first column without a name that counts the rows.
    """
    kept, empty = {}, 0
    for index, name in enumerate(names):
        cells = table.column(index)
        if name:
            kept[index] = name
        elif not any(cell.strip() for cell in cells.unique().to_pylist()):
            empty += 1
        elif index >= len(head.names):
            filled = [row for row, cell in enumerate(cells.to_pylist()) if cell.strip()]
            raise _uneven(text, head, lines[filled[0]], len(names), len(filled), cells[filled[0]].as_py())
        elif index == 0 and _counts(cells):
            notes.append("left out the first column, which has no name and counts the rows")
        else:
            kept[index] = f"Unnamed: {index}"  # as pandas calls it
            notes.append(f"column {index + 1} has no name and is called {kept[index]!r}")
    if empty:
        notes.append(f"left out {empty} column{'s' * (empty > 1)} without a name and without values: lines end so")
    return table.select([*kept]).rename_columns([*kept.values()])


def _counts(cells: pa.ChunkedArray) -> bool:
    """Tell whether cells count the rows from 0 or 1."""
    words = cells.to_pylist()
    return any(words == [str(row + start) for row in range(len(words))] for start in (0, 1))
