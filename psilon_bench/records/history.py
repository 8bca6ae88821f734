"""history.csv: one row per evaluation, appended by whole lines."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from psilon_bench.records.durable import whole_file


def append_row(path: Path, row: dict[str, float]) -> None:
    """Add a row; the first one names the columns. What a later one has not stays empty, what it has beside is left out.

    A fine-tuning has no objective of weight decay, and plain networks have units that normalised ones have not.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns(path) or list(row), extrasaction="ignore", lineterminator="\n")
    if not path.exists():
        writer.writeheader()
    writer.writerow(row)
    with path.open("a", newline="", encoding="utf-8") as file:
        file.write(text.getvalue())


def columns(path: Path) -> list[str]:
    """What the first line names; nothing where there is no file yet."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return next(csv.reader(file), [])


def read_rows(path: Path) -> list[dict[str, float]]:
    """The rows as numbers, without what is empty; none where there is no file yet."""
    return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(whole_lines(path))]


def whole_lines(path: Path) -> list[str]:
    """The lines that were written to their end."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [line for line in text.splitlines(keepends=True) if line.endswith("\n")]


def write_rows(path: Path, rows: Sequence[dict[str, float]]) -> None:
    """Write all rows anew; without any row the file goes."""
    if not rows:
        path.unlink(missing_ok=True)
        return
    with whole_file(path, flushed=False) as part:
        for row in rows:
            append_row(part, row)
