"""What may happen to MLflow around a run, with the commands themselves: nothing is lost, doubled, or waited for."""

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from hot_journal import leave_half_written
from mlflow_server import Server, guarded, wait_for

pytestmark = pytest.mark.slow
LONG = ("model.hidden=4", "model.depth=2", "trainer.epochs=1500", "trainer.eval_every=500", "hardware.device=cpu")
PASSWORD = "s3cret-w0rd"
ENTRIES = {
    "psilon-sync": "from psilon_bench.cli.sync import main; main()",
    "psilon-report": "from psilon_bench.cli.report import main; main()",
    "psilon-run": """
from psilon_bench.tracking import sender
sender.SILENT_FOR_S = 10  # else two minutes
from psilon_bench.cli.run import main
main()
""",
}
Call = Callable[..., tuple[int, str]]


@pytest.fixture
def call(tmp_path: Path, environment: dict[str, str]) -> Call:
    """call("psilon-sync", "results"): exit code and all that was printed."""

    def call(name: str, *arguments: str, before: tuple[str, ...] = (), **more: str) -> tuple[int, str]:
        command = [*before, sys.executable, "-c", ENTRIES[name], *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env={**environment, **more}, capture_output=True, text=True, check=False, timeout=240
        )
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        return done.returncode, done.stdout + done.stderr

    return call


def rows(database: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(database)) as opened:
        return opened.execute(query).fetchall()


def statuses(database: Path) -> list[str]:
    return sorted(status for (status,) in rows(database, "SELECT status FROM runs"))


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


def test_the_commands_after_a_run(psilon: Any, call: Any, tmp_path: Path) -> None:
    """MLflow's copies below results_dir are neither sent nor reported, and the run stays finished."""
    assert psilon("results_dir=n", "name=s")[0] == 0
    assert call("psilon-sync", "n") == (0, "MLflow has all records of n.\n")
    assert statuses(tmp_path / "n/mlflow.db") == ["FINISHED"]
    code, text = call("psilon-report", "n")
    assert (code, "1 records: 1 finished." in text) == (0, True), text
    assert call("psilon-sync", "n", "--rebuild")[0] == 0
    assert statuses(tmp_path / "n/mlflow.db") == ["FINISHED"]


def test_a_hot_journal(psilon: Any, call: Any, tmp_path: Path) -> None:
    """What a killed process left half written is taken back by the next run, and by psilon-sync."""
    assert psilon("seed=0")[0] == 0
    database = tmp_path / "results/mlflow.db"
    ways: list[Callable[[], tuple[int, str]]] = [lambda: psilon("seed=1"), lambda: call("psilon-sync")]
    for again in ways:
        leave_half_written(database, "UPDATE params SET value = 'half'")
        code, text = again()
        assert code == 0, text
        assert not (tmp_path / "results/mlflow.db-journal").exists()
        assert rows(database, "SELECT count(*) FROM params WHERE value = 'half'") == [(0,)]
    assert statuses(database) == ["FINISHED"] * 2


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


def test_a_database_that_was_lost(psilon: Any, call: Any, tmp_path: Path) -> None:
    """All of it comes back, once; a database from before comes up to date; nothing is said to be there that is not."""
    assert psilon("-m", "seed=0,1")[0] == 0
    database = tmp_path / "results/mlflow.db"
    count = "SELECT count(*) FROM metrics UNION ALL SELECT count(*) FROM params UNION ALL SELECT count(*) FROM tags"
    before = rows(database, count)
    shutil.copy(database, tmp_path / "older.db")
    database.unlink()
    code, text = call("psilon-sync")
    assert (code, "2 of 2 records sent" in text) == (0, True), text
    assert rows(database, count) == before
    assert psilon("-m", "seed=0,1,2")[0] == 0
    after = rows(database, count)
    shutil.move(tmp_path / "older.db", database)
    for arguments in ((), ("--rebuild",), ("--rebuild",)):
        assert call("psilon-sync", *arguments)[0] == 0
        assert rows(database, count) == after
    assert statuses(database) == ["FINISHED"] * 4


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs root on Linux")
def test_a_user_without_a_name_and_a_home(call: Any, tmp_path: Path) -> None:
    """As containers run: the run reaches MLflow, under the number."""
    tmp_path.chmod(0o777)
    rights = "+dac_override,+dac_read_search"  # to read this Python
    nobody: tuple[str, ...] = (
        "env",
        "-u",
        "HOME",
        "-u",
        "USER",
        "-u",
        "LOGNAME",
        "setpriv",
        "--reuid",
        "12345",
        "--regid",
        "12345",
    )
    nobody += ("--clear-groups", "--inh-caps", rights, "--ambient-caps", rights)
    code, text = call("psilon-run", *LONG, before=nobody)
    assert code == 0, text
    assert rows(tmp_path / "results/mlflow.db", "SELECT status, user_id FROM runs") == [("FINISHED", "12345")]


def test_a_server_behind_a_password(psilon: Any, call: Any, records: Any, tmp_path: Path) -> None:
    """The password is used, and is nowhere to be found afterwards; psilon-sync takes it from MLflow's own variables."""
    (tmp_path / "server").mkdir()
    server = Server(tmp_path / "server")
    server.start()
    with guarded(server, "me", PASSWORD) as uri:
        login = uri.replace("//", f"//me:{PASSWORD}@")
        code, text = psilon(f"tracking.uri={uri.replace('//', '//me:wrong@')}")
        assert code == 2
        assert text.startswith(
            f"psilon-run: tracking.uri={uri} wants to know who you are, and does not take what it got"
        )
        assert "wrong" not in text
        assert not records()
        code, text = psilon("-m", "seed=0,1", f"tracking.uri={login}")
        assert code == 0, text
        code, said = psilon("-m", "seed=0,1", f"tracking.uri={login}", "reg.lam=-1")
        assert code == 2
        server.stop()
        code, third = psilon("seed=2", f"tracking.uri={login}")
        assert code == 2, "an answer of the proxy that is none of MLflow"
        server.start()
        assert call("psilon-sync")[0] == 1
        login_by_name = {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": PASSWORD}
        assert call("psilon-sync", **login_by_name) == (0, "MLflow has all records of results.\n")
        (tmp_path / "results/runs/.mlflow-parent.json").unlink()
        assert call("psilon-sync", "--uri", login, "--rebuild")[0] == 0
        code, report = call("psilon-report", "results", **login_by_name)
        assert code == 0
        assert "MLflow has the report" in report
        assert PASSWORD not in text + said + third + report
    server.stop()
    assert statuses(tmp_path / "server/server.db") == ["FINISHED"] * 3
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or PASSWORD.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("name", ["x?y", "x%20y", "x#y z"])
def test_a_folder_of_any_name(psilon: Any, call: Any, tmp_path: Path, name: Any) -> None:
    """The database lies in it, nothing beside it, and all commands find it."""
    assert psilon("-m", "seed=0,1", f"results_dir='{name}'")[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert statuses(tmp_path / name / "mlflow.db") == ["FINISHED"] * 3
    assert call("psilon-sync", name) == (0, f"MLflow has all records of {name}.\n")
    code, text = call("psilon-report", name)
    assert (code, "MLflow has the report: run sweep runs" in text) == (0, True), text
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_relative_database_is_found_from_everywhere(psilon: Any, call: Any, tmp_path: Path) -> None:
    """The record names it whole."""
    assert psilon("tracking.uri=sqlite:///sub/x.db")[0] == 0
    (tmp_path / "sub/other").mkdir()
    database = tmp_path / "sub/x.db"
    assert statuses(database) == ["FINISHED"]
    database.unlink()
    command = ("env", "-C", str(tmp_path / "sub/other"))
    code, text = call("psilon-sync", str(tmp_path / "results"), before=command)
    assert code == 0, text
    assert statuses(database) == ["FINISHED"]


@pytest.mark.parametrize("content", [b"[]", b"{}", b'{"uri": {}}', b'{"uri": "sql', b"\xff\x00"])
def test_files_of_another_shape(psilon: Any, call: Any, tmp_path: Path, content: Any) -> None:
    """mlflow.json and the file of the sweep: run, report and sync say which, and do their work."""
    assert psilon("-m", "seed=0,1")[0] == 0
    for path in (tmp_path / "results").glob("runs/*mlflow*.json"):
        path.write_bytes(content)
    for path in (tmp_path / "results").glob("runs/*/mlflow.json"):
        path.write_bytes(content)
    code, text = call("psilon-report", "results")
    assert (code, text.count("counts as absent")) == (0, 1), text
    code, text = psilon("-m", "seed=0,1,2")
    assert (code, "Traceback" in text) == (0, False), text
    for path in (tmp_path / "results").glob("runs/*/mlflow.json"):
        path.write_bytes(content)
    code, text = call("psilon-sync")
    assert (code, text.count("counts as absent")) == (0, 3), text
    assert statuses(tmp_path / "results/mlflow.db") == ["FINISHED"] * 4
