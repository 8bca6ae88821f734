"""What is kept in memory: no more than so many bytes, never what was there before a file changed, read once."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_images import write_mnist

from psilon_bench.data import bundled, cache, image_files, tasks
from psilon_bench.data.cache import Bounded, cached_by_bytes, size_of
from psilon_bench.run.checks import prepare


@pytest.fixture(autouse=True)
def _empty() -> None:
    for one in (cache.raw, cache.tasks, cache.shapes):
        one.clear()


@given(st.lists(st.integers(0, 30), max_size=20))
def test_the_latest_that_fit_are_kept(sizes: Any) -> None:
    """Together at most 40 bytes, the last one in any case; each of them is the same object until it is dropped."""
    bounded = Bounded(40)

    @cached_by_bytes(bounded, lambda number, size: (number,))
    def load(number: int, size: int) -> np.ndarray:
        return np.zeros(size, dtype=np.uint8)

    for number, size in enumerate(sizes):
        first = load(number, size)
        assert load(number, size) is first
        assert sum(value.nbytes for value in bounded.values()) <= 40
    kept, room = [], 40
    for number in reversed(range(len(sizes))):
        room -= sizes[number]
        if room < 0:
            break
        kept.append(number)
    assert {key[-1] for key in bounded} == set(kept)


def test_what_is_larger_than_the_bound_is_kept_alone() -> None:
    """Until the next comes: a data set that is used again and again is not read again and again."""
    bounded, calls = Bounded(10), []

    @cached_by_bytes(bounded, lambda size: (size,))
    def load(size: int) -> np.ndarray:
        calls.append(size)
        return np.zeros(size)

    for size in (1, 50, 50, 1, 1):
        load(size)
    assert calls == [1, 50, 1]


def test_functions_do_not_share_their_results() -> None:
    """One bound may be common to many, with equal arguments."""
    kept = cached_by_bytes(Bounded(1000), lambda x: (x,))
    assert (kept(lambda x: x + 1)(1), kept(lambda x: x + 2)(1)) == (2, 3)


def test_sizes(config: Any) -> None:
    """Of a task all its splits, of a raw table its strings too."""
    task = prepare(config("dataset=wine")).task
    tensors: Any = [each for split in (task.train, task.val, task.test) for each in (split.x, split.y, split.rows)]
    total = sum(tensor.nbytes for tensor in tensors)
    assert total < size_of(task) < total + 20_000
    more = dataclasses.replace(task, extra_tests={"fog": task.test})
    assert size_of(more) - size_of(task) == sum(tensor.nbytes for tensor in tensors[-3:]) + sys.getsizeof(
        task.test.weights
    )
    assert size_of(pd.DataFrame({"a": ["x" * 10_000] * 3})) > 30_000


def load(run: Any) -> Any:
    return tasks.load_task(run.dataset.model_dump_json(by_alias=True))


def test_an_edited_table_is_read_again(config: Any, tmp_path: Path) -> None:
    """With another checksum; the same file gives the same task."""
    rows = pd.DataFrame({"a": np.arange(40.0) % 7, "b": np.arange(40.0) % 5, "target": np.arange(40.0)})
    rows.to_csv(tmp_path / "rows.csv", index=False)
    run = config("dataset=table", "dataset.path=rows.csv", "dataset.kind=regression")
    first = load(run)
    assert load(run) is first
    rows.assign(target=rows["target"] + 1).to_csv(tmp_path / "rows.csv", index=False)
    second = load(run)
    assert second.target_center == first.target_center + 1
    assert second.checksum != first.checksum


def test_edited_images_are_read_again(config: Any, tmp_path: Path) -> None:
    """A folder is marked by the files in it."""
    run = config(*write_mnist(tmp_path, side=6, sizes=(60, 20)))
    first = load(run)
    assert load(run) is first
    write_mnist(tmp_path, side=6, sizes=(60, 30))
    assert len(load(run).test) == 30
    assert len(first.test) == 20


def calls_of(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[Any]:
    """From now on what a function of one argument, which goes on as it did, is called with."""
    function, calls = getattr(module, name), []

    def noted(argument: Any) -> Any:
        calls.append(argument)
        return function(argument)

    monkeypatch.setattr(module, name, noted)
    return calls


def test_images_are_read_once_for_all_splits(config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And each split is what it is when they are read for it alone: nobody changes what is kept."""
    runs = [config(*write_mnist(tmp_path, side=6, sizes=(60, 20)), f"seed={seed}") for seed in (0, 1, 0, 2)]
    calls = calls_of(monkeypatch, image_files, "_read_pairs")
    together = [load(run) for run in runs]
    assert len(calls) == 1
    for run, task in zip(runs, together, strict=True):
        cache.raw.clear()
        cache.tasks.clear()
        assert torch.equal(load(run).train.x, task.train.x)
    assert len(calls) == 5


def test_tables_are_read_once_for_all_splits(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same of what comes with scikit-learn."""
    runs = [config("dataset=wine", f"seed={seed}") for seed in range(4)]
    calls = calls_of(monkeypatch, bundled, "_read")
    together = [load(run) for run in runs]
    assert calls == ["wine"]
    for run, task in zip(runs, together, strict=True):
        cache.raw.clear()
        cache.tasks.clear()
        assert torch.equal(load(run).test.x, task.test.x)


def test_shapes_outlive_their_tasks(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep over more splits than are kept asks for their shapes without making them again."""
    runs = [config("dataset=wine", f"seed={seed}").dataset.model_dump_json(by_alias=True) for seed in range(3)]
    first = [tasks.task_shape(run) for run in runs]
    cache.tasks.clear()
    monkeypatch.setattr(tasks, "load_task", lambda dataset: pytest.fail("made again"))
    assert [tasks.task_shape(run) for run in runs] == first
