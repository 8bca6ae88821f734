"""Higgs (Baldi, Sadowski & Whiteson 2014): the UCI file of 11 million rows, or the sample that OpenML has as a task.

The UCI file (csv or csv.gz: label, 21 low-level features, 7 features derived from them) is converted once, in chunks,
to a float32 Parquet file in the cache; from that file only the rows in use are read.
"""

import hashlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from pydantic import NonNegativeInt, PositiveInt

from psilon_bench.config.marks import NO_NUMBER, InputPath, checked_by, settled_by
from psilon_bench.data import cache, openml, store
from psilon_bench.data.folds import Fold, FoldCount, Folds
from psilon_bench.data.split import RowNumbers, Size, resolve_sizes, split_rows
from psilon_bench.data.split_settings import check_split, without_unused
from psilon_bench.data.standardisation import ScalingName
from psilon_bench.data.tabular import Protocol, RawTable, TaskOptions, make_task, without_protocol
from psilon_bench.data.task import Task
from psilon_bench.errors import UsageError, in_one_line

LABEL = "label"
LOW = [
    *("lepton_pT", "lepton_eta", "lepton_phi", "missing_energy_magnitude", "missing_energy_phi"),
    *(f"jet{i}{what}" for i in (1, 2, 3, 4) for what in ("pt", "eta", "phi", "b-tag")),
]
HIGH = ["m_jj", "m_jjj", "m_lv", "m_jlv", "m_bb", "m_wbb", "m_wwbb"]
COLUMNS = [LABEL, *LOW, *HIGH]
UCI_TEST_ROWS = 500_000
ROW_GROUP = 100_000
SOURCE = "https://archive.ics.uci.edu/dataset/280/higgs"
LICENCE = "CC BY 4.0"


def higgs_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of `load` that determine the data: with a file, no id of OpenML does."""
    kept = without_unused(without_protocol(arguments))
    return kept | {"task_id": None} if kept["path"] else kept


@checked_by(check_split)
@settled_by(higgs_arguments)
def load(
    name: str,
    path: InputPath | None,
    task_id: PositiveInt,
    features: Literal["all", "low", "high"],
    split: Literal["random", "uci"],
    train_size: Size | None,
    val_size: Size | None,
    test_size: Size | None,
    max_rows: PositiveInt | None,
    protocol: Protocol,
    scaling: ScalingName,
    split_seed: NonNegativeInt,
    folds: FoldCount | None,
    fold: Fold | None,
    repeat: NonNegativeInt,
    offline: Annotated[bool, NO_NUMBER],
) -> Task:
    """Return the task of telling Higgs bosons (1) from background (0) by 28, 21 or 7 features.

    `path` is the UCI file; where it is None, OpenML's task `task_id` is used. With split `uci` the test rows come from
    the last 500,000 rows of the file, as the authors take them. The other arguments are those of every table; `offline`
    forbids fetching. Raises UsageError for a damaged file, for sizes that do not fit, and for `uci` without a file.
    """
    cut = Folds.of(folds, fold, repeat)
    sizes = [train_size, val_size, test_size]
    options = TaskOptions(sizes, max_rows, split_seed, folds=cut, scaling=scaling).with_protocol(protocol)
    left_out = {"all": [], "low": HIGH, "high": LOW}[features]
    if path is not None:
        return _from_file(name, Path(path).expanduser(), left_out, split, options)
    if split == "uci":
        raise UsageError("dataset.split=uci needs the UCI file, but dataset.path=null. Set dataset.path=HIGGS.csv.gz.")
    raw = replace(openml.openml_table(task_id, None, None, offline), name=name)
    return make_task(raw.without([c for c in left_out if c in raw.frame]), options)


def _from_file(name: str, path: Path, left_out: list[str], split: str, options: TaskOptions) -> Task:
    """Return the task made of the rows in use of the UCI file."""
    entry, labels = _with_labels(path)
    file = pq.ParquetFile(entry.table)
    parts = _parts(labels, split, options)
    if options.folds is not None:
        parts = options.folds.cut(parts, options.split_seed, labels.astype(np.int64), None, ["0", "1"])
    rows = np.sort(np.concatenate(parts))
    frame = _read_rows(file, rows, [c for c in COLUMNS if c not in left_out])
    raw = RawTable(
        name=name,
        frame=frame.astype({LABEL: np.int64}).set_axis(rows),
        target=LABEL,
        regression=False,
        categorical=[],
        source=SOURCE,
        licence=LICENCE,
        checksum=entry.about["source_sha256"],
        notes=[f"{len(rows)} of the {len(labels)} rows of {path.name}"],
        lines=range(1, len(labels) + 1),
    )
    return make_task(raw, options, [np.searchsorted(rows, part) for part in parts])


def _place(path: Path) -> cache.CacheKey:
    """Return the key of a converted file: the cache's folder and the file's state."""
    return (str(store.root()), *cache.file_key(path))


@cache.cached_by_bytes(cache.raw, _place)
def _with_labels(path: Path) -> tuple[store.Entry, np.ndarray]:
    """Return the cache's entry of the file, and the labels (rows,) of all rows."""
    entry = converted(path)
    return entry, pq.read_table(entry.table, columns=[LABEL])[LABEL].to_numpy()


def _parts(labels: np.ndarray, split: str, options: TaskOptions) -> list[RowNumbers]:
    """Return the row numbers of the training, validation and test set."""
    counts = resolve_sizes(len(labels), options.sizes, options.max_rows)
    if split == "random":
        return split_rows(len(labels), counts, options.split_seed, labels)
    head = len(labels) - UCI_TEST_ROWS
    if sum(counts[:2]) > head or counts[2] > UCI_TEST_ROWS:
        raise UsageError(
            f"dataset.split=uci tests on the last {UCI_TEST_ROWS} rows and trains on the {max(head, 0)} before, but "
            f"{counts[0]} + {counts[1]} and {counts[2]} are asked for. Set other sizes, or dataset.split=random."
        )
    first = split_rows(head, counts[:2], options.split_seed, labels[:head])
    (last,) = split_rows(UCI_TEST_ROWS, counts[2:], options.split_seed, labels[head:])
    return [*first, last + head]


def _read_rows(file: pq.ParquetFile, rows: RowNumbers, columns: list[str]) -> pd.DataFrame:
    """Return the given rows (sorted row numbers) of these columns.

    One row group is read at a time, so that the 11 million rows never stand in memory.
    """
    tables, start = [], 0
    for group in range(file.num_row_groups):
        stop = start + file.metadata.row_group(group).num_rows
        low, high = np.searchsorted(rows, [start, stop])
        if low < high:
            tables.append(file.read_row_group(group, columns=columns).take(rows[low:high] - start))
        start = stop
    return pa.concat_tables(tables).to_pandas()


def converted(path: Path) -> store.Entry:
    """Return the cache's entry of the file as Parquet, made first where it is missing.

    The entry is found again by the file's path, size, inode and time of change. Raises UsageError where there is no
    file.
    """
    if not path.is_file():
        raise UsageError(f"dataset.path must be a file, but {path} is not. Set dataset.path=HIGGS.csv.gz.")
    stat = path.stat()
    mark = f"{path.absolute()} {stat.st_size} {stat.st_ino} {stat.st_ctime_ns}"
    key = f"higgs/{hashlib.sha256(mark.encode()).hexdigest()[:16]}"
    return store.obtain(key, lambda folder: converted_still(path, folder), offline=False, remedy="")


def converted_still(path: Path, folder: Path) -> store.About:
    """Convert the file and raise UsageError where it changed meanwhile."""
    with cache.unchanged(path):
        return convert(path, folder)


def convert(path: Path, folder: Path) -> store.About:
    """Write the file's rows to data.parquet in `folder`, and return what is known of them.

    Raises UsageError with the number of rows read where the file is damaged.
    """
    print(f"converting {path} once, into {store.root()}", file=sys.stderr)
    schema = pa.schema([(c, pa.float32()) for c in COLUMNS])
    rows = 0
    with pq.ParquetWriter(folder / "data.parquet", schema, compression="lz4", use_dictionary=False) as writer:
        try:
            for table in _groups(path):
                rows += len(table)
                writer.write_table(table, row_group_size=ROW_GROUP)
        except (pa.ArrowInvalid, OSError) as error:
            raise UsageError(
                f"Higgs needs a whole csv or csv.gz of {len(COLUMNS)} numbers a row (label, 21 low-level, 7 derived), "
                f"but {path.name} fails after {rows} rows: {in_one_line(error, 160)}. Fetch the file anew."
            ) from error
    source = {"source": SOURCE, "file": str(path.absolute()), "source_sha256": store.file_sha256(path)}
    return {
        "name": "higgs",
        "rows": rows,
        "features": len(COLUMNS) - 1,
        "target": LABEL,
        "licence": "CC BY 4.0",
        **source,
    }


def _groups(path: Path) -> Iterator[pa.Table]:
    """Yield tables of ROW_GROUP rows or slightly more, made of the reader's smaller batches."""
    convert = pa_csv.ConvertOptions(column_types={c: pa.float32() for c in COLUMNS}, null_values=[])
    read = pa_csv.ReadOptions(column_names=COLUMNS, block_size=1 << 22)
    waiting: list[pa.RecordBatch] = []
    for batch in pa_csv.open_csv(path, read_options=read, convert_options=convert):
        _check_labels(batch, path)
        waiting.append(batch)
        if sum(map(len, waiting)) >= ROW_GROUP:
            yield pa.Table.from_batches(waiting)
            waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting)


def _check_labels(batch: pa.RecordBatch, path: Path) -> None:
    """Raise UsageError for a label other than 0 or 1."""
    labels = batch.column(LABEL).to_numpy()
    wrong = labels[(labels != 0) & (labels != 1)]
    if len(wrong):
        raise UsageError(f"The first column of Higgs is the label, 0 or 1, but {path.name} has {wrong[0]:g} there.")
