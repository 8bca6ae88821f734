"""A trained network of psilon_bench in one file, which needs Python and NumPy alone.

    python FILE.py rows.csv > predictions.csv           or, from Python:
    predict({"age": [39, None], "job": ["clerk", ""]})  -> numbers, or names of classes; (rows,)
    predict_proba(...)                                  -> probabilities, (rows, classes)

Rows are columns by name (a dictionary or a data frame), or a table (rows, columns) in the order of COLUMNS. Missing
numbers are None, NaN, empty or a word such as NA; dates are ISO text, datetime64, or days since 1970 in UTC. Numbers in
text are written as in the file that was trained on: ABOUT["text"] has its decimal mark, separator of thousands and of
fields, and character set. So is rows.csv, but where its ending is another one, that says what separates fields.
Numbers that are infinite, or too large for the network, are a ValueError.
"""

import base64
import csv
import datetime
import gzip
import io
import json
import math
import os
import re
import sys
import zlib
from typing import Any

import numpy as np

MODEL = ""
MISSING = {"", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "null", "none", "?"}
WHOLE = re.compile(r"(-?(?:0|[1-9]\d*))\.0+")
TRUTH = {"True": 1.0, "TRUE": 1.0, "true": 1.0, "False": 0.0, "FALSE": 0.0, "false": 0.0}
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


@np.errstate(over="ignore", invalid="ignore")  # what overflows is told below
def logits(rows: Any) -> np.ndarray:
    """Return what the last layer makes of raw rows, (rows, outputs); ValueError where numbers are not finite."""
    x = h = features(rows).astype(np.float32)
    check_finite(h, [COLUMNS[place] for place in ARRAYS["column"]])
    for k, (before, residual) in enumerate(ABOUT["steps"]):
        z = activated(before, h) @ ARRAYS[f"weight{k}"].T + ARRAYS[f"bias{k}"]
        h = z + h if residual else z
    h = h + x @ ARRAYS["trend"] if "trend" in ARRAYS else h  # of a network that is monotone in some columns
    wrong = np.flatnonzero(~np.isfinite(h).all(axis=1))
    if len(wrong):
        raise ValueError(f"numbers are too large for the network, which overflows in row {wrong[0] + 1}; correct them")
    return h


def check_finite(values: np.ndarray, names: list[str]) -> None:
    """Raise ValueError that names the first column (rows, columns) with an infinite number, and the row."""
    for name, infinite in zip(names, np.isinf(values).T, strict=True):
        if infinite.any():
            told = f"numbers must be finite, in float32 too, but column {name!r} has {infinite.sum()} that are not"
            raise ValueError(f"{told}, the first in row {infinite.argmax() + 1}; correct them or leave the cells empty")


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
    check_finite(raw, COLUMNS)
    taken, kind = raw[:, ARRAYS["column"]], ARRAYS["kind"]  # 0: value, 1: wave, 2: whether missing, 3: level
    value = np.where(kind == 1, np.sin(taken * ARRAYS["frequency"] + ARRAYS["phase"]), taken)
    filled = np.where(kind == 2, np.isnan(taken), np.where(np.isnan(value), ARRAYS["fill"], value))
    scaled = (filled - ARRAYS["mean"]) / ARRAYS["scale"]
    bounded = np.clip(scaled, -1e150, 1e150)  # whose squares do not overflow
    limited = np.where(np.isinf(ARRAYS["limit"]), scaled, bounded / np.sqrt(1 + (bounded / ARRAYS["limit"]) ** 2))
    for place, *curve in ABOUT["curves"]:
        limited[:, place] = np.interp(scaled[:, place], *curve)
    return np.where(kind == 3, taken == ARRAYS["level"], limited)


def named_columns(rows: Any) -> list[tuple[dict[str, Any], Any]]:
    """Return each column of the model with its cells; KeyError for one that is not there, ValueError for one twice."""
    if isinstance(rows, np.ndarray | list | tuple):
        table = np.asarray(rows) if isinstance(rows, np.ndarray) else np.array(rows, dtype=object)
        if table.ndim != 2 or table.shape[1] != len(COLUMNS):
            raise ValueError(f"rows must be (rows, {len(COLUMNS)}), with the columns {COLUMNS}, but are {table.shape}")
        return list(zip(ABOUT["columns"], table.T, strict=True))
    absent = [name for name in COLUMNS if name not in rows]
    if absent:
        raise KeyError(f"rows must have the columns {COLUMNS}, but these are not there: {absent}")
    found = [(column, as_array(rows[column["name"]])) for column in ABOUT["columns"]]
    for column, cells in found:
        if cells.shape != (len(found[0][1]),):
            told = f"column {column['name']!r} must be there once, with a cell for each of {len(found[0][1])} rows"
            raise ValueError(f"{told}, but has the shape {cells.shape}; name each column once")
    return found


def as_array(cells: Any) -> np.ndarray:
    """Return the cells of a column; a list keeps its objects, or NaN among text would become "nan"."""
    return np.asarray(cells) if hasattr(cells, "__array__") else np.array(list(cells), dtype=object)


def number_or_place(column: dict[str, Any], cells: np.ndarray) -> np.ndarray:
    """Return a column as numbers (rows,): itself, days, or the places of its levels; NaN for what is missing."""
    if column["role"] == "date":
        return days(column, cells)
    if column["role"] == "number":
        values = numbers(column, cells)
        return np.where(np.isin(values, column["missing_numbers"]), np.nan, values)
    return np.array([place_of(column, cell) for cell in cells.tolist()], dtype=float)


def is_missing(column: dict[str, Any], cell: Any, usual: bool) -> bool:
    """Tell whether a cell has no value; `usual`: NA, null and the like say so, too, as among numbers and dates."""
    if isinstance(cell, str):
        word = cell.strip()
        return not {cell, word}.isdisjoint(column["missing"]) or (usual and word.lower() in MISSING)
    try:
        return cell is None or bool(cell != cell)
    except TypeError:  # pandas.NA
        return True


def place_of(column: dict[str, Any], cell: Any) -> float:
    """Return the place of a level; NaN for an unseen one, and for a missing one unless that is a level."""
    places, word = column["places"], "" if is_missing(column, cell, usual=False) else spelled(cell)
    if word in column["missing"] or (word not in places and not word.strip()):
        word = ""
    return float(places.get(word, math.nan))


def spelled(level: Any) -> str:
    """Return the spelling of a level: 3, 3.0 and "3.0" are the level "3"."""
    whole = WHOLE.fullmatch(str(level))
    return whole[1] if whole else str(level)


def numbers(column: dict[str, Any], cells: np.ndarray) -> np.ndarray:
    """Return cells as float64 with NaN for what is missing; durations are in seconds. ValueError for other text."""
    if cells.dtype.kind == "m":
        return np.where(np.isnat(cells), np.nan, cells / np.timedelta64(1, "s"))
    if cells.dtype.kind in "biuf":
        return cells.astype(float)
    return np.array([one_number(column, cell) for cell in cells.tolist()], dtype=float)


def one_number(column: dict[str, Any], cell: Any) -> float:
    """Return a cell as a number, NaN for a missing one."""
    if is_missing(column, cell, usual=True):
        return math.nan
    value = TRUTH.get(cell.strip(), said_by(cell)) if isinstance(cell, str) else measured(cell)
    if value is None:
        marks = ", ".join(f"{key} {ABOUT['text'][key]!r}" for key in ("decimal", "thousands") if ABOUT["text"][key])
        told = f"column {column['name']!r} holds numbers, but {str(cell)[:40]!r} is none"
        raise ValueError(f"{told}; write it as in training ({marks}) or leave it empty")
    return value


def said_by(text: str) -> float | None:
    """Return the number that text says, by the marks of the file that was trained on; None for other text."""
    text, decimal, thousands = text.strip(), ABOUT["text"]["decimal"], ABOUT["text"]["thousands"]
    if thousands is not None and thousands in text:
        mark = re.escape(thousands)
        if not re.match(rf"[+-]?[1-9]\d{{0,2}}({mark}\d{{3}})+(?!\d|{mark})", text):
            return None
        text = text.replace(thousands, "")
    if decimal != ".":
        text = text.replace(".", "_").replace(decimal, ".")
    if "_" in text or text.lower() in MISSING:  # Python reads 1_000 and nan
        return None
    return measured(text)


def measured(cell: Any) -> float | None:
    """Return a cell as a float; durations and times of day are in seconds. None for what is no number."""
    if isinstance(cell, datetime.timedelta):
        return cell.total_seconds()
    if isinstance(cell, datetime.time):
        return cell.hour * 3600 + cell.minute * 60 + cell.second + cell.microsecond / 1e6
    try:
        return float(cell)
    except (TypeError, ValueError, OverflowError):
        return None


def days(column: dict[str, Any], cells: np.ndarray) -> np.ndarray:
    """Return dates as days since 1970 in UTC, NaN for missing ones; ValueError for text that is no date."""
    if cells.dtype.kind == "M":
        return np.where(np.isnat(cells), np.nan, (cells - np.datetime64(0, "s")) / np.timedelta64(1, "D"))
    if cells.dtype.kind in "iuf":
        return cells.astype(float)
    return np.array([one_day(column, cell) for cell in cells.tolist()], dtype=float)


def one_day(column: dict[str, Any], cell: Any) -> float:
    """Return a cell as days since 1970, NaN for a missing one."""
    if is_missing(column, cell, usual=True):
        return math.nan
    if isinstance(cell, int | float):
        return float(cell)
    try:
        moment = datetime.datetime.fromisoformat(str(cell).strip() if "-" in str(cell) else "")
    except ValueError:
        told = f"column {column['name']!r} holds dates, but {str(cell)[:40]!r} is none; write 2024-12-31"
        raise ValueError(told) from None
    if moment.tzinfo is not None:
        moment = moment.astimezone(datetime.UTC).replace(tzinfo=None)
    return (moment - EPOCH) / datetime.timedelta(days=1)


def columns_of_file(path: str) -> dict[str, np.ndarray]:
    """Return the columns of a file of text by name, cells as they are written; ValueError for what is no such table."""
    with gzip.open(path) if path.endswith(".gz") else open(path, "rb") as file:
        content = file.read().decode(ABOUT["text"]["charset"]).removeprefix("\ufeff")
    mark = separator(path, content)
    if mark == "spaces":
        mark, content = " ", "\n".join(" ".join(line.split()) for line in io.StringIO(content, newline=None))
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=mark)
    lines = [(reader.line_num, line) for line in reader if line] or [(1, [])]
    header = [name.strip() for name in lines[0][1]]
    names = [name or f"Unnamed: {k}" for k, name in enumerate(header)]
    twice, absent = sorted({name for name in names if names.count(name) > 1}), [c for c in COLUMNS if c not in names]
    if twice or absent:
        wrong = f"these repeat: {twice}" if twice else f"these are not there: {absent}"
        raise ValueError(
            f"the first line must name the columns {COLUMNS}, each once, but {wrong}; separated by {mark!r} it "
            f"has {names[:8]}; correct the file"
        )
    width = max(k for k, name in enumerate(header) if name) + 1
    for place, line in lines:
        if len(line) < width or any(cell.strip() for cell in line[len(names) :]):
            raise ValueError(f"lines must have {width} fields separated by {mark!r}, but line {place} has {len(line)}")
        line.extend([""] * (len(names) - len(line)))
    return {name: np.array([line[k] for _, line in lines[1:]], dtype=object) for k, name in enumerate(names)}


def separator(path: str, content: str) -> str:
    """Return what separates fields: the mark of the file that was trained on, or the usual one of another ending."""
    stem, ending = os.path.splitext(path)
    mark = ABOUT["text"]["separator"] if ending == ABOUT["text"]["ending"] else None
    inner = os.path.splitext(stem)[1] if ending == ".gz" else ending
    header = content.lstrip().partition("\n")[0]
    likely = max(",;\t|", key=header.count)
    usual = {".csv": ",", ".tsv": "\t"}.get(inner.lower(), likely if likely in header else "spaces")
    return "\t" if mark in ("tab", r"\t") else mark or usual


def main() -> int:
    """Read a file of text, named by the argument, and print its predictions as CSV; return 2 for a mistake, else 0."""
    (name, *paths), charset = sys.argv, ABOUT["text"]["charset"]
    try:
        if len(paths) != 1:
            raise ValueError("name one file of rows: python FILE.py rows.csv")
        rows = columns_of_file(paths[0])
        table = {"prediction": predict(rows)}
        if ABOUT["kind"] != "regression":
            likely = predict_proba(rows)
            table |= {f"probability/{word}": likely[:, k] for k, word in enumerate(ABOUT["classes"])}
    except (ValueError, OSError, EOFError, zlib.error, csv.Error) as error:
        why = str(error) if type(error) is ValueError else f"it must be text in {charset} ({error}); check the file"
        print(" ".join(f"{os.path.basename(name)}: {': '.join([*paths, why])}".split()), file=sys.stderr)
        return 2
    try:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(table)
        writer.writerows(zip(*(column.tolist() for column in table.values()), strict=True))
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())
