"""The history of a run: history.csv as columns of numbers, or an error that says what is wrong with it."""

import csv
from pathlib import Path

import numpy as np

from psilon_bench.records.history import whole_lines
from psilon_bench.records.run_json import Unreadable, cut_value
from psilon_bench.report.escaping import visible

History = dict[str, np.ndarray]  # column -> values, all of one length


def read_history(path: Path) -> History:
    """Return the columns (rows,) of the file's whole lines, NaN for empty cells; empty where the file has no row.

    Raises Unreadable for a file that is no history: not UTF-8, not numbers, or steps that do not increase.
    """
    try:
        lines = whole_lines(path)
        header, *rows = list(csv.reader(lines)) or [[]]
    except UnicodeDecodeError as error:
        raise Unreadable(path, f"it is not UTF-8: byte {error.start} is {error.object[error.start]:#x}") from error
    except (OSError, csv.Error) as error:
        raise Unreadable(path, f"it cannot be read: {visible(str(error))}") from error
    if not rows:
        return {}
    try:
        values = np.array([[cell or "nan" for cell in row] for row in rows], dtype=float)
    except ValueError:
        raise Unreadable(path, visible(first_fault(header, rows))) from None
    history = dict(zip(header, values.T, strict=False))
    if values.shape[1] != len(header) or "step" not in history:
        raise Unreadable(path, visible(first_fault(header, rows)))
    if not (np.isfinite(history["step"]).all() and (np.diff(history["step"], prepend=-1) > 0).all()):
        raise Unreadable(path, "its steps do not increase from row to row")
    return history


def first_fault(header: list[str], rows: list[list[str]]) -> str:
    """Return what is wrong with the first row that does not fit the header, or with the header."""
    for line, row in enumerate(rows, start=2):
        if len(row) != len(header):
            return f"line {line} has {len(row)} fields and the header {len(header)}"
        for name, cell in zip(header, row, strict=True):
            if not is_empty_or_number(cell):
                return f"line {line} has {cut_value(cell)} as {name}, which is no number"
    return f"it has no column step, but {', '.join(header[:5])}"


def is_empty_or_number(cell: str) -> bool:
    """Tell whether a cell may stand in a history."""
    try:
        float(cell or "nan")
    except ValueError:
        return False
    return True
