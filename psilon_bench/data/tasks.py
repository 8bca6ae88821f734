"""The task of a configuration: loaded once, kept in a bounded cache, and identified by the content of its data."""

import json
from dataclasses import dataclass
from pathlib import Path

from psilon_bench.config.schema import DatasetSection
from psilon_bench.data import cache, store
from psilon_bench.data.task import Kind, Task


@dataclass(frozen=True)
class TaskShape:
    """What decides which tasks can be those of one stack: rows, the shape of one row, rows by test set, kind, outputs.

    Another split may have another shape, since it can change the number of input columns.
    """

    train: int
    val: int
    row: tuple[int, ...]
    tests: tuple[tuple[str, int], ...]
    kind: Kind
    num_outputs: int


def task_key(dataset: str) -> cache.CacheKey:
    """Return what decides the task of a dataset section (as JSON): its values, the files they name, the cache."""
    files = DatasetSection.model_validate(json.loads(dataset)).resolved().values()
    return (dataset, str(store.root()), *(cache.file_key(Path(file)) for file in files))


@cache.cached_by_bytes(cache.tasks, task_key)
def load_task(dataset: str) -> Task:
    """Return the task of a dataset section (as JSON); a task that was loaded is kept in memory, within bounds."""
    section = DatasetSection.model_validate(json.loads(dataset))
    return section.build(name=section.name)


@cache.cached_by_bytes(cache.shapes, task_key)
def task_shape(dataset: str) -> TaskShape:
    """Return the shape of the task of a dataset section (as JSON)."""
    task = load_task(dataset)
    tests = tuple((name, len(split)) for name, split in {"test": task.test, **task.extra_tests}.items())
    row = tuple(task.train.x.shape[1:])
    return TaskShape(len(task.train), len(task.val), row, tests, task.kind, task.num_outputs)
