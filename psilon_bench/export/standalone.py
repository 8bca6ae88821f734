"""A trained network of psilon_bench in one file, which needs Python and NumPy alone.

    python FILE.py rows.csv > predictions.csv           or, from Python:
    predict({"age": [39, None], "job": ["clerk", ""]})  -> numbers, or names of classes; (rows,)
    predict_proba(...)                                  -> probabilities, (rows, classes)

Rows are columns by name (a dictionary or a data frame), or a table (rows, columns) in the order of COLUMNS. Numbers
that are missing are None, NaN, empty or a word such as NA; dates are ISO text, datetime64, or days since 1970 in UTC.
"""

import base64
import csv
import datetime
import io
import json
import math
import re
import sys
from typing import Any

import numpy as np

MODEL = ""
MISSING = {"", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "null", "none", "?"}
WHOLE = re.compile(r"(-?(?:0|[1-9]\d*))\.0+")
EPOCH = datetime.datetime(1970, 1, 1)

FILE = np.load(io.BytesIO(base64.b64decode(MODEL)), allow_pickle=False) if MODEL else {}
ARRAYS: dict[str, np.ndarray] = {name: FILE[name] for name in FILE}
ABOUT: dict[str, Any] = json.loads(str(ARRAYS["about"])) if MODEL else {"columns": [], "steps": []}
COLUMNS = [column["name"] for column in ABOUT["columns"]]


def predict(rows: Any) -> np.ndarray:
    """Return the prediction of each row: a number in units of the target, or the name of the likeliest class."""
    if ABOUT["kind"] == "regression":
        return ABOUT["center"] + ABOUT["scale"] * logits(rows)[:, 0].astype(float)
    return np.array(ABOUT["classes"])[predict_proba(rows).argmax(axis=1)]


def predict_proba(rows: Any) -> np.ndarray:
    """Return the probability of each class, (rows, classes), in the order of ABOUT["classes"]."""
    z = logits(rows).astype(float) / ABOUT["temperature"]
    if ABOUT["kind"] == "binary":
        z = np.concatenate([np.zeros_like(z), z], axis=1)
    likely = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(likely / likely.sum(axis=1, keepdims=True))


def logits(rows: Any) -> np.ndarray:
    """Return what the last layer makes of raw rows, (rows, outputs)."""
    with np.errstate(over="ignore", invalid="ignore"):
        h = features(rows).astype(np.float32)
    check_finite("the inputs", h)
    for k, (before, residual) in enumerate(ABOUT["steps"]):
        z = activated(before, h) @ ARRAYS[f"weight{k}"].T + ARRAYS[f"bias{k}"]
        h = z + h if residual else z
    check_finite("the outputs", h)
    return h


def check_finite(what: str, values: np.ndarray) -> None:
    """Raise ValueError that names the first row with a number that is infinite, or is none, once it is scaled."""
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        raise ValueError(f"{what} of the network must be finite, but those of row {finite.argmin() + 1} are not")


def activated(name: str, h: np.ndarray) -> np.ndarray:
    """Return what a layer multiplies with."""
    if name == "crelu":
        return np.concatenate([np.maximum(h, 0), np.minimum(h, 0)], axis=1)
    if name == "gelu":
        return h * np.vectorize(math.erf, otypes=[h.dtype])(h / math.sqrt(2)) / 2 + h / 2
    if name == "leaky_relu":
        return np.where(h > 0, h, np.float32(0.01) * h)
    return np.maximum(h, 0) if name == "relu" else np.tanh(h) if name == "tanh" else h


def features(rows: Any) -> np.ndarray:
    """Return the inputs of the network, (rows, features), from raw rows."""
    raw = np.stack([number_or_place(column, cells) for column, cells in named_columns(rows)], axis=1)
    taken = raw[:, ARRAYS["column"]]
    kind = ARRAYS["kind"]  # 0: a value, 1: a wave, 2: whether it is missing, 3: a level
    wave = np.sin(taken * ARRAYS["frequency"] + ARRAYS["phase"])
    value = np.where(kind == 1, wave, taken)
    filled = np.where(kind == 2, np.isnan(taken), np.where(np.isnan(value), ARRAYS["fill"], value))
    scaled = (filled - ARRAYS["mean"]) / ARRAYS["scale"]
    return np.where(kind == 3, taken == ARRAYS["level"], scaled)


def named_columns(rows: Any) -> list[tuple[dict[str, Any], Any]]:
    """Return each column of the model with its cells; KeyError for a column that is not there."""
    if isinstance(rows, np.ndarray | list | tuple):
        table = np.asarray(rows) if isinstance(rows, np.ndarray) else np.array(rows, dtype=object)
        if table.ndim != 2 or table.shape[1] != len(COLUMNS):
            raise ValueError(f"rows must be (rows, {len(COLUMNS)}), with the columns {COLUMNS}, but are {table.shape}")
        return list(zip(ABOUT["columns"], table.T, strict=True))
    absent = [name for name in COLUMNS if name not in rows]
    if absent:
        raise KeyError(f"rows must have the columns {COLUMNS}, but these are not there: {absent}")
    return [(column, as_array(rows[column["name"]])) for column in ABOUT["columns"]]


def as_array(cells: Any) -> np.ndarray:
    """Return the cells of a column; a list keeps its objects, or NaN among text would become "nan"."""
    return np.asarray(cells) if hasattr(cells, "dtype") else np.array(list(cells), dtype=object)


def number_or_place(column: dict[str, Any], cells: np.ndarray) -> np.ndarray:
    """Return a column as numbers (rows,): itself, days, or the places of its levels; NaN for what is missing."""
    if column["role"] == "date":
        return days(column["name"], cells)
    if column["role"] == "number":
        values = numbers(column["name"], cells, column["missing"])
        absent = np.isin(values, column["missing_numbers"])
        return np.where(absent, np.nan, values)
    places = [place_of(column, cell) for cell in cells.tolist()]
    return np.array(places, dtype=float)


def place_of(column: dict[str, Any], cell: Any) -> float:
    """Return the place of a level; NaN for an unseen one, and for a missing one unless that is a level."""
    word = "" if cell is None or cell != cell else spelled(cell)
    if word in column["missing"]:
        word = ""
    place = column["places"].get(word)
    return math.nan if place is None else place


def spelled(level: Any) -> str:
    """Return the spelling of a level: 3, 3.0 and "3.0" are the level "3"."""
    whole = WHOLE.fullmatch(str(level))
    return whole[1] if whole else str(level)


def numbers(name: str, cells: np.ndarray, missing: list[str]) -> np.ndarray:
    """Return cells as float64 with NaN for what is missing; durations are in seconds. ValueError for other text."""
    if cells.dtype.kind == "m":
        return np.where(np.isnat(cells), np.nan, cells / np.timedelta64(1, "s"))
    if cells.dtype.kind in "biuf":
        return cells.astype(float)
    return np.array([one_number(name, cell, missing) for cell in cells.tolist()], dtype=float)


def one_number(name: str, cell: Any, missing: list[str]) -> float:
    """Return a cell as a number, NaN for a missing one."""
    if cell is None or (isinstance(cell, str) and (cell.strip().lower() in MISSING or cell in missing)):
        return math.nan
    try:
        return float({"true": 1, "false": 0}.get(cell.strip().lower(), cell) if isinstance(cell, str) else cell)
    except ValueError:
        raise ValueError(f"column {name!r} holds numbers, but {cell!r} is none") from None


def days(name: str, cells: np.ndarray) -> np.ndarray:
    """Return dates as days since 1970 in UTC, NaN for missing ones; ValueError for text that is no date."""
    if cells.dtype.kind == "M":
        return np.where(np.isnat(cells), np.nan, (cells - np.datetime64(0, "s")) / np.timedelta64(1, "D"))
    if cells.dtype.kind in "iuf":
        return cells.astype(float)
    return np.array([one_day(name, cell) for cell in cells.tolist()], dtype=float)


def one_day(name: str, cell: Any) -> float:
    """Return a cell as days since 1970, NaN for a missing one."""
    if cell is None or cell != cell or (isinstance(cell, str) and cell.strip().lower() in MISSING):
        return math.nan
    if isinstance(cell, int | float):
        return float(cell)
    try:
        moment = datetime.datetime.fromisoformat(str(cell).strip())
    except ValueError:
        raise ValueError(f"column {name!r} holds dates, but {cell!r} is none; write 2024-12-31") from None
    if moment.tzinfo is not None:
        moment = moment.astimezone(datetime.UTC).replace(tzinfo=None)
    return (moment - EPOCH) / datetime.timedelta(days=1)


def main() -> None:
    """Read a CSV file, named by the first argument, and print its predictions as CSV."""
    with open(sys.argv[1], newline="", encoding="utf-8-sig") as file:
        names, *lines = [line for line in csv.reader(file) if line]
    cells = np.array(lines, dtype=object).reshape(len(lines), len(names))
    rows = {name.strip(): cells[:, k] for k, name in enumerate(names)}
    table: dict[str, Any] = {"prediction": predict(rows)}
    if ABOUT["kind"] != "regression":
        likely = predict_proba(rows)
        table |= {f"probability/{name}": likely[:, k] for k, name in enumerate(ABOUT["classes"])}
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*(column.tolist() for column in table.values()), strict=True))


if __name__ == "__main__":
    main()
