"""The task of a configuration: loaded once, kept in a bounded cache, and identified by the content of its data."""

import json
from collections.abc import Hashable
from pathlib import Path

from psilon_bench.config.schema import DatasetSection
from psilon_bench.data import cache, store
from psilon_bench.data.task import Task


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
def task_shape(dataset: str) -> tuple[Hashable, ...]:
    """Return what must agree in tasks of networks that are trained as one stack: shapes, kind and number of outputs.

    Another split may give another shape, since it can change the number of input columns.
    """
    task = load_task(dataset)
    splits = {"train": task.train, "val": task.val, "test": task.test} | task.extra_tests
    return (*((name, tuple(split.x.shape)) for name, split in splits.items()), task.kind, task.num_outputs)
