"""Any supervised OpenML task, or an OpenML data set with one of its columns as the target, from the data cache."""

import hashlib
from dataclasses import replace
from typing import Annotated, Literal

import pandas as pd
from pydantic import NonNegativeInt, PositiveInt

from psilon_bench.config.marks import NO_NUMBER, checked_by, settled_by
from psilon_bench.data import cache, checks, openml_fetch, openml_splits
from psilon_bench.data.folds import Fold, FoldCount, Folds
from psilon_bench.data.given_split import GivenSplit
from psilon_bench.data.preprocessing import Encoding
from psilon_bench.data.split import Size
from psilon_bench.data.split_settings import Arguments, check_split, without_unused
from psilon_bench.data.standardisation import ScalingName
from psilon_bench.data.store import Entry
from psilon_bench.data.tabular import Protocol, RawTable, TaskOptions, make_task, without_protocol
from psilon_bench.data.task import Task
from psilon_bench.errors import UsageError


def openml_arguments(arguments: Arguments) -> Arguments:
    """Return the arguments of `load` that determine the data."""
    return without_unused(without_protocol(arguments), "splits")


def check_openml(arguments: Arguments) -> None:
    """Raise UsageError for settings of a split that contradict each other; OpenML's own splits belong to a task."""
    check_split(arguments, "splits")
    repeat, fold = (arguments[f"test_{key}"] for key in ("repeat", "fold"))
    if arguments["splits"] is None and (repeat or fold):
        asked = f"dataset.test_fold={fold}" if fold else f"dataset.test_repeat={repeat}"
        raise UsageError(f"{asked} is of OpenML's splits, but dataset.splits=null. Set dataset.splits=openml.")
    if arguments["splits"] is not None and arguments["task_id"] is None:
        raise UsageError("dataset.splits=openml are the splits of a task, but dataset.task_id=null. Set it.")


@checked_by(check_openml)
@settled_by(openml_arguments)
def load(
    name: str,
    task_id: PositiveInt | None,
    data_id: PositiveInt | None,
    target: str | None,
    drop: list[str],
    splits: Literal["openml"] | None,
    test_repeat: NonNegativeInt,
    test_fold: NonNegativeInt,
    order_by: str | None,
    train_size: Size | None,
    val_size: Size | None,
    test_size: Size | None,
    max_rows: PositiveInt | None,
    encoding: Encoding,
    protocol: Protocol,
    scaling: ScalingName,
    split_seed: NonNegativeInt,
    folds: FoldCount | None,
    fold: Fold | None,
    repeat: NonNegativeInt,
    offline: Annotated[bool, NO_NUMBER],
) -> Task:
    """Return a supervised task of OpenML, or one made of an OpenML data set.

    One of `task_id` and `data_id` is set. A task says what the target is; of a data set it is `target`, or OpenML's
    default target where that is None. `name` is the configuration's; the Task is called what OpenML calls the data.
    With splits `openml`, training and test rows are those of the task's repeat `test_repeat` and fold `test_fold`, and
    validation rows, or folds, are cut from its training rows. Rows may be split in the order of a column, `order_by`.
    Raises UsageError for ids or columns that do not exist, and for data that cannot be fetched.
    """
    options = TaskOptions([train_size, val_size, test_size], max_rows, split_seed, encoding, scaling=scaling)
    options = replace(options, folds=Folds.of(folds, fold, repeat)).with_protocol(protocol)
    raw = openml_table(task_id, data_id, target, offline).without(drop)
    raw = raw if order_by is None else raw.ordered_by(order_by)
    if splits is not None:
        assert task_id is not None
        raw = with_task_split(raw, openml_splits.obtain_splits(task_id, offline), test_repeat, test_fold)
    return make_task(raw, options)


def with_task_split(raw: RawTable, entry: Entry, repeat: int, fold: int) -> RawTable:
    """Return the table with a split of its OpenML task; the task's splits are part of the checksum.

    Raises UsageError for a repeat or fold that the task does not have.
    """
    about = entry.about
    for key, value in (("repeat", repeat), ("fold", fold)):
        if value >= about[f"{key}s"]:
            raise UsageError(
                f"dataset.test_{key}={value} is none of the {key}s of OpenML task {about['task_id']}: "
                f"it should be 0 to {about[f'{key}s'] - 1}."
            )
    rows = pd.read_parquet(entry.table, filters=[("repeat", "==", repeat), ("fold", "==", fold)])
    parts = {use: part.to_numpy() for use, part in rows.groupby("test")["row"]}
    nothing = rows["row"].to_numpy()[:0]
    given = GivenSplit(parts.get(False, nothing), nothing, parts.get(True, nothing), "dataset.splits=openml")
    checksum = hashlib.sha256(f"{raw.checksum} {about['sha256']['data.parquet']}".encode()).hexdigest()
    return replace(raw, given=given, checksum=checksum)


def openml_table(task_id: int | None, data_id: int | None, target: str | None, offline: bool) -> RawTable:
    """Return the rows of an OpenML task or data set as a raw table; see `load` for the arguments and errors."""
    if (task_id is None) == (data_id is None):
        raise UsageError(
            f"OpenML data is named by one of its ids, but dataset.task_id={_shown(task_id)} and "
            f"dataset.data_id={_shown(data_id)}. "
            "Set one, e.g. dataset.task_id=361072, and leave the other null."
        )
    regression = None
    if task_id is not None:
        task = openml_fetch.obtain_task(task_id, offline).about
        data_id, regression = task["data_id"], task["regression"]
        if target not in (None, task["target"]):
            raise UsageError(
                f"A task has a target of its own, but dataset.target={target!r} and task {task_id} has "
                f"{task['target']!r}. Leave it null, or use dataset.data_id={data_id}."
            )
        target = task["target"]
    assert data_id is not None
    return _raw(openml_fetch.obtain_data(data_id, offline), target, regression)


def _shown(value: object) -> object:
    """Return a value as the command line writes it."""
    return "null" if value is None else value


def _content(entry: Entry, target: str | None, regression: bool | None) -> cache.CacheKey:
    """Return the key of the table made of an entry of the cache: its checksums, the target and the kind of task."""
    return (str(entry.path), *entry.about["sha256"].values(), target, regression)


@cache.cached_by_bytes(cache.raw, _content)
def _raw(entry: Entry, target: str | None, regression: bool | None) -> RawTable:
    """Return an entry of the cache as a raw table; where `regression` is None, the type of the target decides."""
    about = entry.about
    frame = pd.read_parquet(entry.table)
    target = target or about["target"]
    checks.check_target_name(target, list(frame.columns), f"OpenML data set {about['data_id']}")
    notes = [f"OpenML data set {about['data_id']} ({about['name']}, version {about['version']})"]
    if regression is None:
        regression = target not in about["categorical"]
        notes.append(f"kind inferred from the type of {target!r}: {'regression' if regression else 'classes'}")
    return RawTable(
        name=about["name"],
        frame=frame,
        target=str(target),
        regression=regression,
        categorical=[c for c in about["categorical"] if c != target],
        source=about["source"],
        licence=about["licence"],
        checksum=about["sha256"]["data.parquet"],
        notes=notes,
    )
