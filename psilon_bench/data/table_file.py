"""Reading a table: CSV, TSV (also gzipped), Parquet, Feather, ARFF -> a data frame and its columns of levels."""

import csv
import gzip
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pandas as pd
import pyarrow as pa

from psilon_bench.data import checks
from psilon_bench.errors import UsageError


def read(path: Path) -> tuple[pd.DataFrame, list[str]]:
    if not path.is_file():
        raise UsageError(f"dataset.path must be a file, but {path} is not. Check the path (and its folder).")
    try:
        frame = _reader(path)(path)
    except UsageError:
        raise
    except (ValueError, OSError, EOFError, zlib.error, csv.Error, pa.ArrowInvalid) as error:
        brief = " ".join(str(error).split())[:160]
        raise UsageError(
            f"dataset.path must be a whole {path.suffixes[0]} file, but {path.name} cannot be read ({brief}). "
            "Check the file."
        ) from error
    frame.columns = frame.columns.map(str)
    checks.check_names(list(frame.columns))
    return frame, _levels(frame)


def _reader(path: Path) -> Callable[[Path], pd.DataFrame]:
    readers = {
        ".csv": lambda p: _separated(p, ","),
        ".tsv": lambda p: _separated(p, "\t"),
        ".parquet": pd.read_parquet,
        ".pq": pd.read_parquet,
        ".feather": pd.read_feather,
        ".arff": _arff,
    }
    kind = path.suffixes[-2] if path.suffix == ".gz" and len(path.suffixes) > 1 else path.suffix
    packed = path.suffix == ".gz" and kind not in (".csv", ".tsv")
    if kind not in readers or packed:
        raise UsageError(
            f"dataset.path must end in {', '.join(readers)}, .csv.gz or .tsv.gz, but it is {path.name}. "
            "Convert or rename the file."
        )
    return readers[kind]


def _separated(path: Path, separator: str) -> pd.DataFrame:
    with _open(path) as file:
        header = next(csv.reader(file, delimiter=separator), [])
    checks.check_names(header)  # pandas would rename the second `a` to `a.1`
    return pd.read_csv(path, sep=separator, low_memory=False)


def _open(path: Path) -> IO[str]:
    return gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8", newline="")


def _arff(path: Path) -> pd.DataFrame:
    import arff  # liac-arff, which openml brings

    try:
        with path.open(encoding="utf-8") as file:
            content = arff.load(file)
    except arff.ArffException as error:
        raise ValueError(str(error)) from error
    names = [name for name, _ in content["attributes"]]
    checks.check_names(names)
    frame = pd.DataFrame(content["data"], columns=names)
    return frame.astype({name: "category" for name, kind in content["attributes"] if isinstance(kind, list)})


def _levels(frame: pd.DataFrame) -> list[str]:
    """Columns of text or categories; truth values count as the numbers 0 and 1."""
    return [c for c in frame if not pd.api.types.is_numeric_dtype(frame[c])]
