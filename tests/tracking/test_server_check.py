"""Whether MLflow could write at an address: found out in seconds, said in one line, and nothing is left behind."""

import os
import socket
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hot_journal import leave_half_written
from mlflow_server import free_port, guarded

from psilon_bench.errors import UsageError
from psilon_bench.tracking import server as server_module
from psilon_bench.tracking.content import source_tags
from psilon_bench.tracking.experiment import connect
from psilon_bench.tracking.server import check_server, tracking_uri

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")  # in MLflow itself


def test_where_mlflow_is(config: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """tracking.uri, else MLFLOW_TRACKING_URI, else an sqlite file in results_dir."""
    assert tracking_uri(config("results_dir=here")) == f"sqlite:///{tmp_path}/here/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://there:5000")
    assert tracking_uri(config("results_dir=here")) == "http://there:5000"
    assert tracking_uri(config("tracking.uri=http://elsewhere:1")) == "http://elsewhere:1"


@pytest.mark.parametrize("uri", ["file:./mlruns", "mlruns", "ftp://host/x", ""])
def test_an_address_of_no_known_kind_is_refused(uri: Any) -> None:
    """The kinds there are, and two that can be copied."""
    with pytest.raises(UsageError, match=r"is none of sqlite, http, https, .*Take sqlite:///FILE or http://HOST:PORT"):
        check_server(uri)


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    """Refused at once, with the reason and the remedy."""
    uri = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(UsageError, match=rf"tracking.uri={uri} does not answer: .*refused.* Start it .*tracking=none"):
        check_server(uri)
    assert not list(tmp_path.iterdir())


def test_a_server_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the connection and says nothing: given up within ten seconds (here one)."""
    assert server_module.ANSWER_WITHIN_S < 10
    monkeypatch.setattr(server_module, "ANSWER_WITHIN_S", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with pytest.raises(UsageError, match=r"does not answer: timed out"):
            check_server(f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert time.monotonic() - started < 5


def test_a_database_that_cannot_be_used(tmp_path: Path) -> None:
    """A file that is no database: the address, a reason in one line, the remedy, and nothing left behind."""
    (tmp_path / "text").write_text("this is no database, " * 100)
    uri = f"sqlite:///{tmp_path / 'text'}"
    words = r"^tracking.uri=sqlite:.* cannot be used: file is not a database\. Move it away, .* set tracking=none\.$"
    with pytest.raises(UsageError, match=words) as caught:
        connect(uri, "tests", str(tmp_path / "results"))
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match=words):
        check_server(uri)
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


@pytest.mark.parametrize("file", ["text/mlflow.db", "", "/proc/mlflow.db"])
def test_a_database_that_cannot_be_made(tmp_path: Path, file: Any) -> None:
    """Below a file, a folder itself, a place that takes no files: refused before MLflow tries for minutes."""
    (tmp_path / "text").write_text("in the way")
    with pytest.raises(
        UsageError, match=r"^tracking.uri=sqlite:.* cannot be used: .+ Set tracking.uri=.*or tracking=none\.$"
    ):
        check_server(f"sqlite:///{tmp_path / file}")
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_a_database_that_is_there_or_can_be_made(experiment: Any, tmp_path: Path) -> None:
    """An MLflow database and a file in a folder that is not there yet: fine, and nothing is made."""
    check_server(experiment.uri)
    check_server(f"sqlite:///{tmp_path}/new/deep/mlflow.db")
    check_server("sqlite:///mlflow.db")
    assert not list(tmp_path.iterdir())


def test_a_database_server_that_is_not_there() -> None:
    """Found at the door, whatever driver it would take."""
    with pytest.raises(UsageError, match=r"tracking\.uri=postgresql\S+ does not answer: .*refused"):
        check_server(f"postgresql+psycopg2://me:secret@127.0.0.1:{free_port()}/mlflow")


def test_what_a_killed_process_left_half_written_is_taken_back(tmp_path: Path) -> None:
    """A hot journal: only a connection that may write can roll it back, and then the database is as it was."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    connect(uri, "tests", str(tmp_path))
    leave_half_written(tmp_path / "mlflow.db", "UPDATE experiments SET name = name || 'x'")
    check_server(uri)
    assert not (tmp_path / "mlflow.db-journal").exists()
    assert connect(uri, "tests", str(tmp_path)).client.get_experiment_by_name("tests") is not None


def test_a_database_that_another_process_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waited for a while; then the words are about a file and not about a server."""
    monkeypatch.setattr(server_module, "ANSWER_WITHIN_S", 0.1)
    with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as other:
        other.execute("CREATE TABLE one (a)")
        other.execute("BEGIN EXCLUSIVE")
        words = r"x\.db cannot be used: database is locked\. Another process writes to it: wait for its end, or "
        with pytest.raises(UsageError, match=words):
            check_server(f"sqlite:///{tmp_path}/x.db")


@pytest.mark.parametrize("uri", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x.db?uri=true"])
def test_an_address_that_names_no_file(uri: Any) -> None:
    """What is in memory is gone with the process."""
    with pytest.raises(UsageError, match=r"it names no file\. Take sqlite:///FILE"):
        check_server(uri)


@pytest.mark.parametrize(
    "uri",
    ["http://", "http://[", "http://h:99999", "postgresql://", "https://h h", "sqlite", "http"],
)
def test_an_address_that_is_none(uri: Any) -> None:
    """One line, whatever it is."""
    with pytest.raises(UsageError) as caught:
        check_server(uri)
    assert "\n" not in str(caught.value)


def test_an_experiment_in_mlflows_bin_is_noticed_at_once(tmp_path: Path) -> None:
    """With the two ways out; MLflow would take no run."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    experiment = connect(uri, "tests", str(tmp_path))
    experiment.client.delete_experiment(experiment.experiment_id)
    restore = f"MLFLOW_TRACKING_URI={uri} mlflow experiments restore --experiment-id 1"
    words = rf"tests was deleted in MLflow at {uri}\. Name another one, or restore it: {restore}$"
    with pytest.raises(UsageError, match=words):
        connect(uri, "tests", str(tmp_path))
    experiment.client.restore_experiment(experiment.experiment_id)
    assert connect(uri, "tests", str(tmp_path)).experiment_id == experiment.experiment_id


@pytest.mark.slow
def test_a_server_that_asks_who_you_are(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a login, with a wrong one, with one that may not do this: each said in words, and never the password."""
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")
    with guarded(server, "me", "se cret") as uri:
        with_login = uri.replace("//", "//me:se%20cret@")
        for address in (uri, uri.replace("//", "//me:wrong@")):
            check_server(address)
            words = rf"^tracking\.uri={uri} wants to know who you are, and does not take what it got\. Set MLFLOW_TRACK"
            with pytest.raises(UsageError, match=words) as caught:
                connect(address, "tests", str(tmp_path))
            assert "wrong" not in str(caught.value)
        check_server(with_login)
        assert connect(with_login, "tests", str(tmp_path)).uri == uri
        assert connect(uri, "tests", str(tmp_path)).uri == uri, "MLflow's own variables hold the login now"
    with (
        guarded(server, "me", "se cret", forbidden="experiments/get-by-name") as uri,
        pytest.raises(UsageError, match=r"^tracking\.uri=\S+ does not allow you this: .+Ask its owner"),
    ):
        connect(uri, "tests", str(tmp_path))


def test_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's: the number stands for it."""

    def getuser() -> str:
        raise KeyError("no entry")

    monkeypatch.setattr("getpass.getuser", getuser)
    assert source_tags()["mlflow.user"] == str(os.getuid())
