"""From the file of a table to its columns: CSV, TSV, TXT (also gzipped), Parquet, Feather, ARFF.

The file is read once, as bytes, and those bytes are both parsed and summed up in the checksum.
"""

import csv
import gzip
import hashlib
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq

from psilon_bench.data import checks, separated
from psilon_bench.data.separated import Text, native
from psilon_bench.errors import UsageError, in_one_line

SEPARATED = {".csv": ",", ".tsv": "\t", ".txt": ""}
BOM = "\ufeff"  # by which Windows marks UTF-8
TAB = ("tab", r"\t")  # what a shell lets through


@dataclass(frozen=True)
class Content:
    """The columns of a file as it has them (rows x columns): cells of text where the file knows no types."""

    name: str  # the file's, less its ending
    table: pa.Table
    lines: Sequence[int] | None  # that rows begin on, where the file has lines
    notes: list[str]
    checksum: str  # sha256 of the file's bytes

    def __post_init__(self) -> None:
        """Raise UsageError where two columns have the same name."""
        checks.check_names(self.table.column_names)

    def place(self, row: int) -> str:
        """Return where a person finds a row (counted from 0): its line in a file of text, else its number from 1."""
        return f"row {row + 1}" if self.lines is None else f"line {self.lines[row]}"


def read_table_file(
    path: Path, separator: str | None = None, charset: str = "utf-8", named_by: str = "dataset.path"
) -> Content:
    """Return the columns of a file, whose ending says what it is.

    `separator` and `charset` hold for files of text; None infers the separator. `named_by` is what names the file, for
    messages. Raises UsageError for what is no whole table.
    """
    if not path.is_file():
        raise UsageError(f"{named_by} must be a file, but {path} is not. Check the path (and its folder).")
    name, ending, packed = _split(path, named_by)
    try:
        content = path.read_bytes()
        checksum = hashlib.sha256(content).hexdigest()
        content = gzip.decompress(content) if packed else content
        if ending in SEPARATED:
            separator = "\t" if separator in TAB else separator or SEPARATED[ending]
            text = Text(content.decode(charset).removeprefix(BOM), path.name, separator)
            return Content(name, *separated.read_separated(text), checksum)
        table = READERS[ending](content, charset)
        index = _index(table)
        notes = [f"left out {name!r}, which names the rows (pandas)" for name in index if not name.startswith("__")]
        return Content(name, table.drop_columns(index), None, notes, checksum)
    except UsageError:
        raise
    except (ValueError, OSError, EOFError, zlib.error, csv.Error, pa.ArrowException) as error:
        raise _unreadable(path, ending, error, named_by) from error


def _unreadable(path: Path, ending: str, error: Exception, named_by: str) -> UsageError:
    """Return the error for a file that cannot be parsed."""
    brief = in_one_line(error, 160)
    coded = isinstance(error, UnicodeError)
    remedy = "Set dataset.charset to what it is written in, such as cp1252 or utf-16." if coded else "Check the file."
    return UsageError(f"{named_by} must be a whole {ending} file, but {path.name} cannot be read ({brief}). {remedy}")


def _split(path: Path, named_by: str) -> tuple[str, str, bool]:
    """Return the name without its ending, the ending in lower case, and whether the content is gzipped."""
    packed = path.suffix.lower() == ".gz"
    inner = Path(path.stem) if packed else Path(path.name)
    ending = inner.suffix.lower()
    if ending not in SEPARATED and (packed or ending not in READERS):
        known = ", ".join([*SEPARATED, *READERS])
        raise UsageError(
            f"{named_by} must end in {known}, .csv.gz, .tsv.gz or .txt.gz, but it is {path.name}. "
            "Convert or rename the file."
        )
    return inner.stem, ending, packed


def _arff(content: bytes, charset: str) -> pa.Table:
    """Return the columns of an ARFF file: nominal attributes are dictionaries, and all numbers are floats."""
    import arff  # liac-arff, which openml brings

    try:
        found = arff.loads(content.decode(charset))
    except arff.ArffException as error:
        raise ValueError(str(error)) from error
    names = [name for name, _ in found["attributes"]]
    columns = list(zip(*found["data"], strict=True)) or [()] * len(names)
    arrays = [_attribute(kind, cells) for (_, kind), cells in zip(found["attributes"], columns, strict=True)]
    return pa.table(arrays, names=names)


def _attribute(kind: str | list[str], cells: tuple[Any, ...]) -> pa.Array:
    """Return the column of one ARFF attribute."""
    if isinstance(kind, list):
        return pa.array(cells, pa.string()).dictionary_encode()
    return pa.array(cells, pa.string() if kind == "STRING" else pa.float64())


def _parquet(content: bytes, _charset: str) -> pa.Table:
    """Return the columns of a Parquet file."""
    return pq.read_table(native(content))


def _feather(content: bytes, _charset: str) -> pa.Table:
    """Return the columns of a Feather file."""
    return pyarrow.feather.read_table(native(content))


def _index(table: pa.Table) -> list[str]:
    """Return the columns in which pandas stores the names of the rows."""
    index = (table.schema.pandas_metadata or {}).get("index_columns", [])
    return [name for name in index if isinstance(name, str)]


READERS: dict[str, Callable[[bytes, str], pa.Table]] = {
    ".parquet": _parquet,
    ".pq": _parquet,
    ".feather": _feather,
    ".arff": _arff,
}
