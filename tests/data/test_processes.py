"""Several processes at one cache: they fetch once, and one that is killed in the middle leaves nothing broken."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openml_server import Server

from psilon_bench.data import store

FETCH = "from psilon_bench.cli.data import main; main()"


@pytest.fixture
def fetch(server: Server, cache: Path, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start `psilon-data fetch openml ID` in a process of its own, with the test's server and cache."""
    config = tmp_path / "config" / "openml"
    config.mkdir(parents=True)
    (config / "config").write_text(f"server = {server.url}/api/v1/xml\n")
    environment = {
        **os.environ,
        "XDG_CONFIG_HOME": str(config.parent),
        "OPENML_CACHE_DIR": str(tmp_path / "client"),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }

    def start(task_id: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", FETCH, "fetch", "openml", str(task_id)]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


@pytest.mark.slow
def test_eight_processes_fetch_once(server: Any, fetch: Any) -> None:
    processes = [fetch(1) for _ in range(8)]
    said = [finish(process) for process in processes]
    assert set(said) == {"task 1, data set 1: diabetes, 442 rows, 10 features\n"}
    assert server.requests["/api/v1/xml/task/1"] == 1
    assert server.requests["/data/download/1"] == 1


@pytest.mark.slow
def test_a_kill_in_mid_fetch_leaves_nothing_broken(server: Any, fetch: Any, cache: Any) -> None:
    server.faults = [("/data/download/1", "silent")]
    process = fetch(1)
    deadline = time.time() + 60
    while not server.requests["/data/download/1"] and time.time() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert list(store.entries()) == ["task/1"]
    assert (cache / ".making" / "data-1").is_dir()

    finish(fetch(1))
    assert list(store.entries()) == ["data/1", "task/1"]
    assert all(store.read_entry(key) for key in store.entries())
    assert list((cache / ".making").iterdir()) == []
