"""What may happen to MLflow around a run, with the commands themselves: nothing is lost, doubled, or waited for."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import LONG, rows, statuses
from hot_journal import leave_half_written
from mlflow_server import Server, guarded

pytestmark = pytest.mark.slow
PASSWORD = "s3cret-w0rd"


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
