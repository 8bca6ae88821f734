"""The cache: complete or absent, made once, checked on every read."""

import json
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from psilon_bench.data import store
from psilon_bench.errors import UsageError


def make(folder: Path) -> store.About:
    (folder / "data.parquet").write_bytes(b"rows")
    return {"name": "example"}


def obtain(make: Any = make, key: Any = "data/1", offline: Any = False) -> Any:
    return store.obtain(key, make, offline=offline, remedy="Run `psilon-data fetch data 1` with a network first.")


def never(folder: Path) -> store.About:
    raise AssertionError("it is there already")


def test_an_entry_is_made_once_and_read_from_then_on(cache: Any) -> None:
    assert obtain().table.read_bytes() == b"rows"
    entry = obtain(never)
    assert entry.about["name"] == "example"
    assert list(store.entries()) == ["data/1"]


def test_a_failing_maker_leaves_nothing(cache: Any) -> None:
    def fail(folder: Path) -> store.About:
        (folder / "data.parquet").write_bytes(b"half")
        raise RuntimeError("the line dropped")

    with pytest.raises(RuntimeError, match="dropped"):
        obtain(fail)
    assert store.read_entry("data/1") is None
    assert list(store.entries()) == []
    assert list((cache / ".making").iterdir()) == []


def test_scratch_is_not_kept(cache: Any) -> None:
    def work(folder: Path) -> store.About:
        (folder / store.SCRATCH).mkdir()
        (folder / store.SCRATCH / "big").write_bytes(b"0" * 99)
        return make(folder)

    assert sorted(p.name for p in obtain(work).path.iterdir()) == ["about.json", "data.parquet"]


def spoil_data(entry: store.Entry) -> None:
    entry.table.write_bytes(b"rowz")


def remove_data(entry: store.Entry) -> None:
    entry.table.unlink()


def spoil_about(entry: store.Entry) -> None:
    (entry.path / "about.json").write_text("{")


def remove_about(entry: store.Entry) -> None:
    (entry.path / "about.json").unlink()


@pytest.mark.parametrize("damage", [spoil_data, remove_data, spoil_about, remove_about])
def test_a_damaged_entry_is_set_aside_and_made_anew(cache: Any, damage: Any) -> None:
    damage(obtain())
    with pytest.raises(store.DamagedEntry):
        store.read_entry("data/1")
    with pytest.raises(UsageError, match=r"must be whole, but .*data/1.* Run `psilon-data fetch data 1`"):
        obtain(never, offline=True)
    assert obtain().table.read_bytes() == b"rows"
    assert len(list((cache / ".damaged").iterdir())) == 1


def test_offline_names_the_way_to_get_it(cache: Any) -> None:
    with pytest.raises(UsageError, match=r"offline=true only cached data .* data/1 is not\. Run `psilon-data fetch"):
        obtain(never, offline=True)
    assert not cache.exists()


def test_threads_make_one_entry(cache: Any) -> None:
    made = []

    def slow(folder: Path) -> store.About:
        made.append(1)
        time.sleep(0.1)
        return make(folder)

    threads = [threading.Thread(target=obtain, args=(slow,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def _hang(folder: Path) -> store.About:
    (folder / "data.parquet").write_bytes(b"ro")
    time.sleep(60)
    raise AssertionError


def _obtain_hanging() -> None:
    store.obtain("data/1", _hang, offline=False, remedy="")


def test_a_kill_while_making_leaves_it_absent_and_unlocked(cache: Any) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_obtain_hanging)
    process.start()
    half = cache / ".making" / "data-1" / "data.parquet"
    deadline = time.time() + 30
    while not half.exists() and time.time() < deadline:
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    process.close()
    assert half.exists()
    assert store.read_entry("data/1") is None
    assert obtain().table.read_bytes() == b"rows"
    assert not half.exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PSILON_DATA", str(tmp_path / "file"))
    with pytest.raises(UsageError, match=r"cache must be writable, but .*file is not .* Set PSILON_DATA"):
        obtain()


def test_checksums_are_of_the_files(cache: Any) -> None:
    import hashlib

    about = json.loads((obtain().path / "about.json").read_text())
    assert about["sha256"] == {"data.parquet": hashlib.sha256(b"rows").hexdigest()}
