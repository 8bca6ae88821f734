"""Reads published numbers of other people's methods: a CSV or Parquet table, one number a row.

    dataset, method    names; the data set is that of our records with the same name, see against.py
    metric             rmse, mae, r2, accuracy, error, balanced_accuracy, f1_macro, log_loss or roc_auc; others are
                       read and listed as not compared. `1 - roc_auc` and the like are errors
    value              or mean; or metric_error, where less is always better: 1 - accuracy, 1 - area under the curve.
                       A cell may be empty: the method has no number
    fold               or split: which test rows, a whole number. Without it the value is that of all test rows
    seconds            or time_train_s: of training, with all that was tried before the choice
    sd, n              or n_splits: standard deviation of the n numbers of which the value is the mean; `stderr`, the
                       standard error of the mean, takes the place of sd
    precision          `exact`, or in words how a value was rounded

The first four are needed; other columns are left alone. Every other flaw is a UsageError in one line.
"""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from psilon_bench.data.checks import name_list
from psilon_bench.errors import UsageError, in_one_line, shown
from psilon_bench.report.counterpart import check_areas, check_value, counterpart
from psilon_bench.report.escaping import visible

NEEDED = ("dataset", "method", "metric", "value")
VALUES = ("value", "mean", "metric_error")
SPELLINGS = {  # names of the columns that have a thing
    "dataset": ("dataset",),
    "method": ("method",),
    "metric": ("metric",),
    "value": VALUES,
    "fold": ("fold", "split"),
    "seconds": ("seconds", "time_train_s"),
    "sd": ("sd",),
    "stderr": ("stderr",),
    "n": ("n", "n_splits"),
    "precision": ("precision",),
}
EXACT = ("", "exact")

Cells = dict[str, str]  # a row of the file, by the name of the column
PlacedRows = Iterator[tuple[str, Cells]]  # where a row stands, in words, and the row


@dataclass(frozen=True, slots=True)
class PublishedNumber:
    """One row; sd is that of the n numbers behind the value. None: the file does not say."""

    dataset: str
    fold: str | None
    method: str
    metric: str
    value: float
    seconds: float | None
    sd: float | None
    n: int | None
    precision: str


@dataclass(frozen=True)
class Published:
    """The numbers of a file, in its order; `column` is the name of the column with the values.

    without_value: the methods on data sets whose number is an empty cell.
    """

    path: Path
    column: str
    numbers: list[PublishedNumber]
    without_value: list[str]

    @property
    def datasets(self) -> list[str]:
        """Return the names of the data sets."""
        return list(dict.fromkeys(number.dataset for number in self.numbers))


def read_published(path: Path) -> Published:
    """Return the numbers of a file; UsageError, with the line, for what the module's first lines do not allow."""
    lines = list(lines_of(path))
    if not lines:
        raise UsageError(f"--against {path} must have a number in each row, but it has no rows. Check the file.")
    columns = column_names(path, list(lines[0][1]))
    numbers: list[PublishedNumber] = []
    empty: list[str] = []
    places: dict[tuple[str | None, ...], str] = {}
    for place, cells in lines:
        own = {key: cells[column].strip() for key, column in columns.items()}
        fold = fold_of_cell(own["fold"], place) if "fold" in own else None
        key = (own["dataset"], fold, own["method"], own["metric"])
        if key in places:
            what = " ".join(part for part in key if part)
            raise UsageError(f"{place}: {what} must have one number, but {places[key]} has one, too. Keep one of them.")
        places[key] = place.rpartition(", ")[2]
        number = number_of(own, fold, columns["value"], place)
        if number is None:
            empty.append(visible(f"{own['method']} on {own['dataset']}"))
        else:
            numbers.append(number)
    check_ranking(path, numbers, columns["value"])
    return Published(path, columns["value"], numbers, empty)


def check_ranking(path: Path, numbers: list[PublishedNumber], column: str) -> None:
    """Raise UsageError where no cell has a number, and where scores and errors seem to be confused."""
    if not numbers:
        raise UsageError(f"--against {path} must have a number in some row, but {column} is empty in all of them.")
    known = [(number, counterpart(number.metric, column)) for number in numbers]
    check_areas(
        (c.ours(number.value) for number, c in known if c and c.test == "test/roc_auc"), f"--against {path}", column
    )


def lines_of(path: Path) -> PlacedRows:
    """Yield the rows of a file as text, an empty cell as empty text; UsageError where it cannot be read."""
    if not path.is_file():
        raise UsageError(f"--against must name a file, but {path} is none. Check the path.")
    try:
        yield from csv_lines(path) if path.suffix.lower() == ".csv" else parquet_lines(path)
    except UsageError:
        raise
    except (OSError, ValueError, csv.Error, pa.ArrowException) as error:
        brief = in_one_line(error, 160)
        raise UsageError(f"--against {path} must be a CSV or Parquet table, but it cannot be read: {brief}") from error


def csv_lines(path: Path) -> PlacedRows:
    """Yield the rows of a CSV file in UTF-8; empty lines are left out."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, strict=True)
        header = next(reader, [])
        check_header(path, header)
        for fields in reader:
            place = f"--against {path}, line {reader.line_num}"
            if fields and len(fields) != len(header):
                raise UsageError(f"{place} must have {len(header)} fields, but it has {len(fields)}. Quote its commas.")
            if any(fields):
                yield place, dict(zip(header, fields, strict=True))


def check_header(path: Path, header: Sequence[str]) -> None:
    """Raise UsageError where two columns have the same name."""
    twice = [name for name in dict.fromkeys(header) if list(header).count(name) > 1]
    if twice:
        names = visible(name_list(twice))
        raise UsageError(f"--against {path} must have each column once, but {names} is there twice. Remove one.")


def parquet_lines(path: Path) -> PlacedRows:
    """Yield the rows of a Parquet file."""
    import pyarrow.parquet as pq  # which a CSV file does not need

    table = pq.read_table(path)
    check_header(path, table.column_names)
    for number, row in enumerate(table.to_pylist(), start=1):
        cells = {name: "" if cell is None else str(cell) for name, cell in row.items()}
        yield f"--against {path}, row {number}", cells


def column_names(path: Path, header: list[str]) -> Mapping[str, str]:
    """Return the column of each thing that the file has; UsageError where one is missing or named in two ways."""
    found: dict[str, str] = {}
    for key, names in SPELLINGS.items():
        own = [name for name in names if name in header]
        if len(own) > 1:
            raise UsageError(f"--against {path} must have one of the columns {' and '.join(own)}. Remove the others.")
        if own:
            found[key] = own[0]
        elif key in NEEDED:
            raise UsageError(
                f"--against {path} must have the columns dataset, method, metric and one of {', '.join(VALUES)}, but "
                f"lacks {' or '.join(names)}. Columns: {visible(name_list(header))}."
            )
    return found


def number_of(cells: Cells, fold: str | None, column: str, place: str) -> PublishedNumber | None:
    """Return the number of a row, None where its value is empty; UsageError for cells that mean nothing."""
    for key in ("dataset", "method", "metric"):
        if not cells[key]:
            raise UsageError(f"{place}: {key} must be a name, but it is empty. Fill it in, or remove the line.")
    value = finite(cells["value"], column, place)
    if value is None:
        return None
    check_value(value, cells["metric"], column, place)
    amounts = {key: finite(cells.get(key, ""), key, place, 0) for key in ("seconds", "sd", "stderr")}
    count = whole(cells.get("n", ""), "n", place, 1)
    sd, error = amounts["sd"], amounts["stderr"]
    if sd is None and error is not None and count is not None:
        sd = error * math.sqrt(count)
    return PublishedNumber(
        dataset=visible(cells["dataset"]),
        fold=fold,
        method=visible(cells["method"]),
        metric=visible(cells["metric"]),
        value=value,
        seconds=amounts["seconds"],
        sd=sd,
        n=count,
        precision=visible(cells.get("precision", "")),
    )


def fold_of_cell(text: str, place: str) -> str:
    """Return a fold as records name it; UsageError where the cell is empty or no whole number."""
    fold = whole(text, "fold or split", place, 0)
    if fold is None:
        raise UsageError(f"{place}: fold or split must be a whole number, but it is empty. Fill it in.")
    return str(fold)


def whole(text: str, what: str, place: str, least: int) -> int | None:
    """Return the whole number that a cell holds, None for an empty one; UsageError for any other number."""
    value = finite(text, what, place, least)
    if value is not None and value % 1:
        raise UsageError(f"{place}: {what} must be a whole number, but it is {shown(text)}. Correct it.")
    return None if value is None else int(value)


def finite(text: str, what: str, place: str, least: float = -math.inf) -> float | None:
    """Return the number that a cell holds, None for an empty one; UsageError unless it is finite and large enough."""
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= least):
        at_least = f" of at least {least:g}" if math.isfinite(least) else ""
        rule = f"{what} must be a finite number{at_least}"
        raise UsageError(f"{place}: {rule}, but it is {shown(text)}. Correct it, or leave it empty.")
    return value
