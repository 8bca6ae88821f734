"""Real OpenML tasks and real Higgs rows, where a copy of them is at hand (PSILON_REAL_DATA)."""

import json
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from psilon_bench.data import openml_fetch, store

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def copy(real_data: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The openml client deletes what it cannot read, so the original stays out of its sight."""
    return shutil.copytree(
        real_data / "openml", tmp_path_factory.mktemp("real") / "openml", copy_function=shutil.copyfile
    )


@pytest.fixture
def client(copy: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The openml client finds the copy as its own cache, in this process and in those started from it."""
    import openml

    monkeypatch.setenv("OPENML_CACHE_DIR", str(copy))
    monkeypatch.setattr(openml.config, "_root_cache_directory", copy)
    monkeypatch.setattr(openml.config, "server", "https://www.openml.org/api/v1/xml")
    return copy


def test_every_real_task_loads_with_its_rows_and_features(client: Any, load: Any) -> None:
    contents = json.loads((client / "contents.json").read_text())
    assert len(contents) == 25
    for row in contents:
        about = _fetched(row["task_id"])
        assert (about["data_id"], about["rows"], about["features"]) == (row["dataset_id"], row["rows"], row["features"])
        if row["group"] == "image":
            continue
        for protocol in ("none", "psilon"):
            task = load("openml", task_id=row["task_id"], protocol=protocol, offline=True)
            used = [len(split) for split in (task.train, task.val, task.test)]
            assert sum(used) == (row["rows"] if protocol == "none" else min(row["rows"], 20_000))
            assert all(split.x.isfinite().all() and split.y.isfinite().all() for split in (task.train, task.test))
            assert (task.kind == "regression") == (row["group"] in ("335", "336"))
        assert task.num_features == row["features"]  # codes: a column each
        assert used[0] == 2000


def _fetched(task_id: int) -> store.About:
    data_id = openml_fetch.obtain_task(task_id, offline=False).about["data_id"]
    return openml_fetch.obtain_data(data_id, offline=False).about


@pytest.mark.parametrize(
    ("name", "shape", "sizes", "mean", "std"),
    [
        ("mnist", (1, 28, 28), (50_000, 10_000, 10_000), 0.1307, 0.3081),
        ("fashion_mnist", (1, 28, 28), (50_000, 10_000, 10_000), 0.2860, 0.3530),
        ("mnist_subset", (1, 28, 28), (1000, 10_000, 10_000), 0.1307, 0.3081),
        ("cifar10", (3, 32, 32), (9000, 1000, 2000), None, None),  # the copy at hand has 12,000 images
    ],
)
def test_real_images(client: Any, load: Any, name: Any, shape: Any, sizes: Any, mean: Any, std: Any) -> None:
    task = load(name)
    assert task.input_shape == shape
    assert tuple(len(s) for s in (task.train, task.val, task.test)) == sizes
    if mean:
        assert task.preprocessing.mean[0] == pytest.approx(mean, abs=1e-3)
        assert task.preprocessing.std[0] == pytest.approx(std, abs=1e-3)
    if name == "mnist_subset":
        assert task.train.y.bincount().tolist() == [100] * 10
    # channels first: neighbours within a channel resemble each other, as they would not in another order
    x = task.test.x
    assert (x[..., 1:] - x[..., :-1]).std() < 0.6 * x.std() * 2**0.5
    assert (x[..., 1:, :] - x[..., :-1, :]).std() < 0.6 * x.std() * 2**0.5


def test_real_higgs_rows(real_data: Any, load: Any) -> None:
    path = str(real_data / "higgs" / "HIGGS.csv.gz")
    task = load("higgs", path=path, max_rows=None)
    assert len(task.train) + len(task.val) + len(task.test) == 25_977
    torch.testing.assert_close(task.train.y.mean(), torch.tensor(0.53), atol=0.01, rtol=0)
    task = load("higgs", path=path, protocol="psilon")
    assert [len(s) for s in (task.train, task.val, task.test)] == [2000, 9000, 9000]


def _fetch_suites() -> None:
    for task_id in (361110, 361060, 361102, 361084):
        _fetched(task_id)


def test_eight_fetchers_of_real_data(client: Any, cache: Any) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_fetch_suites) for _ in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [p.exitcode for p in processes] == [0] * 8
    assert len([key for key in store.entries() if store.read_entry(key)]) == 8
    assert not (cache / ".damaged").exists()


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.2, 0.4])
def test_a_kill_at_any_moment_of_a_real_fetch(client: Any, cache: Any, delay: Any) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_fetch_suites)
    process.start()
    _wait_for(cache / ".making")
    time.sleep(delay)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    process.close()
    assert all(store.read_entry(key) for key in store.entries())
    _fetch_suites()
    assert len([key for key in store.entries() if store.read_entry(key)]) == 8


def _wait_for(place: Path) -> None:
    deadline = time.time() + 60
    while not place.exists() and time.time() < deadline:
        time.sleep(0.005)
    assert place.exists()
