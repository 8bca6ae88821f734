"""history.csv of a record: one row per evaluation, appended by whole lines."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from psilon_bench.records.atomic_files import atomic_write


def append_row(path: Path, row: dict[str, float]) -> None:
    """Append a row to the file; the first row names the columns.

    A later row leaves columns empty for which it has no value, and values are left out for which there is no column: a
    fine-tuning has no objective of weight decay, and plain networks have units that normalised ones have not.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns(path) or list(row), extrasaction="ignore", lineterminator="\n")
    if not path.exists():
        writer.writeheader()
    writer.writerow(row)
    with path.open("a", newline="", encoding="utf-8") as file:
        file.write(text.getvalue())


def columns(path: Path) -> list[str]:
    """Return the names in the first line; none where there is no file yet."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return next(csv.reader(file), [])


def read_rows(path: Path) -> list[dict[str, float]]:
    """Return the rows as numbers, without empty cells; no row where there is no file yet."""
    return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(whole_lines(path))]


def whole_lines(path: Path) -> list[str]:
    """Return the lines that were written to their end; the last one may have been cut by a crash."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [line for line in text.splitlines(keepends=True) if line.endswith("\n")]


def write_rows(path: Path, rows: Sequence[dict[str, float]]) -> None:
    """Replace the file by these rows; without any row the file is removed."""
    if not rows:
        path.unlink(missing_ok=True)
        return
    with atomic_write(path, flushed=False) as part:
        for row in rows:
            append_row(part, row)
