"""What may happen to the process that sends to MLflow: it is stopped, killed, or its clock is moved."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from commands import ENTRIES, LONG, rows, statuses
from mlflow_server import wait_for

pytestmark = pytest.mark.slow


def sender_of(process: subprocess.Popen[str]) -> psutil.Process:
    """The process beside a run, once it is there."""
    found: list[psutil.Process] = []

    def there() -> bool:
        children = psutil.Process(process.pid).children()
        found[:] = [child for child in children if "psilon_bench.tracking.sender_process" in child.cmdline()]
        return bool(found)

    wait_for(there)
    return found[0]


@pytest.fixture
def begin(tmp_path: Path, environment: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """begin("seed=1"): psilon-run under way, with a sender that may be silent for ten seconds."""
    begun: list[subprocess.Popen[str]] = []

    def begin(*overrides: str, tiny: tuple[str, ...] = LONG) -> subprocess.Popen[str]:
        multirun = [one for one in overrides if one == "-m"]
        values = [one for one in overrides if one != "-m"]
        command = [sys.executable, "-c", ENTRIES["psilon-run"], *multirun, *tiny, *values]
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=pipe, stderr=subprocess.STDOUT, text=True
        )
        begun.append(process)
        return process

    yield begin
    for process in begun:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_a_sender_that_is_stopped(begin: Any, call: Any, records: Any, tmp_path: Path) -> None:
    """The run ends well, waits a while, says what is not sent, and leaves no process; psilon-sync sends it."""
    process = begin("seed=0")
    wait_for(lambda: bool(records()))
    sender = sender_of(process)
    sender.suspend()
    text, _ = process.communicate(timeout=240)
    assert process.returncode == 0, text
    assert "records are being sent to MLflow; Ctrl-C leaves them to psilon-sync" in text
    assert "has said nothing for 10 s. 1 records are not sent; they are whole, and psilon-sync sends them" in text
    assert not sender.is_running()
    assert call("psilon-sync")[0] == 0
    assert statuses(tmp_path / "results/mlflow.db") == ["FINISHED"]


def test_ctrl_c_while_a_stopped_sender_is_waited_for(begin: Any, records: Any) -> None:
    """The wait ends at once, and the sender with it."""
    process = begin("seed=0")
    wait_for(lambda: bool(records()))
    sender = sender_of(process)
    sender.suspend()
    wait_for(lambda: records()[0]["status"] == "finished")
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=30)
    assert process.returncode == 130, text
    assert not sender.is_running()


def test_a_sender_killed_at_random_moments(begin: Any, call: Any, records: Any, tmp_path: Path) -> None:
    """Of twelve sweeps each; psilon-sync brings what lacks: every run once, and whole."""
    draw = random.Random(0)
    tiny = ("model.hidden=4", "model.depth=2", "trainer.epochs=4", "trainer.eval_every=2", "hardware.device=cpu")
    seconds = 0.0
    for number in range(13):
        started = time.monotonic()
        process = begin("-m", "seed=range(60)", f"name=round{number}", "hardware.plan=serial", tiny=tiny)
        sender = sender_of(process)
        with contextlib.suppress(psutil.TimeoutExpired):
            sender.wait(draw.uniform(0.3 * seconds, seconds) if number else None)
        if sender.is_running():
            sender.kill()
        process.communicate(timeout=240)
        seconds = seconds or time.monotonic() - started
        call("psilon-sync")
    assert call("psilon-sync") == (0, "MLflow has all records of results.\n")
    database = tmp_path / "results/mlflow.db"
    every = [run for number in range(13) for run in records(f"round{number}")]
    folders = rows(database, "SELECT value FROM tags WHERE key = 'record'")
    assert sorted(folder for (folder,) in folders) == sorted(str(run["folder"]) for run in every)
    assert set(statuses(database)) == {"FINISHED"}
    parents = rows(database, "SELECT value FROM tags WHERE key = 'parent_of'")
    assert len(parents) == len(set(parents)) == len({run["folder"].parent for run in every})
    per_run = rows(database, "SELECT count(*) FROM metrics WHERE key = 'epoch' GROUP BY run_uuid")
    assert per_run == [(2,)] * len(every)


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs root on Linux")
def test_a_step_of_the_clock(begin: Any, call: Any, records: Any, tmp_path: Path) -> None:
    """The kernel says that the machine began at another time; a run that computes is not taken for a killed one."""
    process = begin("seed=0", "trainer.epochs=20000")
    wait_for(lambda: bool(records()))
    stat = Path("/proc/stat").read_text(encoding="utf-8")
    began = next(line for line in stat.splitlines() if line.startswith("btime "))
    (tmp_path / "stat").write_text(stat.replace(began, f"btime {int(began.split()[1]) + 3600}"))
    moved = ("unshare", "--mount", "sh", "-c", f'mount --bind {tmp_path}/stat /proc/stat && exec "$@"', "-")
    code, text = call("psilon-sync", before=moved)
    assert process.poll() is None
    assert code == 0
    assert text.startswith("1 records are still being computed and are sent by their own process.")
    process.kill()
    process.communicate()
    assert call("psilon-sync", before=moved)[0] == 0
    assert statuses(tmp_path / "results/mlflow.db") == ["KILLED"]
