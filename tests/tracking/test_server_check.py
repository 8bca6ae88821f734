"""Whether MLflow could write at an address: found out in seconds, said in one line, and nothing is left behind."""

import socket
import time

import pytest
from mlflow_server import free_port

from psilon_bench.errors import UsageError
from psilon_bench.tracking import server as server_module
from psilon_bench.tracking.place import connect
from psilon_bench.tracking.server import check_server, tracking_uri

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")  # in MLflow itself


def test_where_mlflow_is(config, monkeypatch, tmp_path):
    """tracking.uri, else MLFLOW_TRACKING_URI, else an sqlite file in results_dir."""
    assert tracking_uri(config("results_dir=here")) == f"sqlite:///{tmp_path}/here/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://there:5000")
    assert tracking_uri(config("results_dir=here")) == "http://there:5000"
    assert tracking_uri(config("tracking.uri=http://elsewhere:1")) == "http://elsewhere:1"


@pytest.mark.parametrize("uri", ["file:./mlruns", "mlruns", "ftp://host/x", ""])
def test_an_address_of_no_known_kind_is_refused(uri):
    """The kinds there are, and two that can be copied."""
    with pytest.raises(UsageError, match=r"is none of sqlite, http, https, .*Take sqlite:///FILE or http://HOST:PORT"):
        check_server(uri)


def test_a_server_that_is_not_there(tmp_path):
    """Refused at once, with the reason and the remedy."""
    uri = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(UsageError, match=rf"tracking.uri={uri} does not answer: .*refused.* Start it .*tracking=none"):
        check_server(uri)
    assert not list(tmp_path.iterdir())


def test_a_server_that_never_answers(monkeypatch):
    """It takes the connection and says nothing: given up within ten seconds (here one)."""
    assert server_module.ANSWER_WITHIN_S < 10
    monkeypatch.setattr(server_module, "ANSWER_WITHIN_S", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with pytest.raises(UsageError, match=r"does not answer: timed out"):
            check_server(f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert time.monotonic() - started < 5


def test_a_database_that_cannot_be_used(tmp_path):
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


@pytest.mark.parametrize("place", ["text/mlflow.db", "", "/proc/mlflow.db"])
def test_a_database_that_cannot_be_made(tmp_path, place):
    """Below a file, a folder itself, a place that takes no files: refused before MLflow tries for minutes."""
    (tmp_path / "text").write_text("in the way")
    with pytest.raises(
        UsageError, match=r"^tracking.uri=sqlite:.* cannot be used: .+ Set tracking.uri=.*or tracking=none\.$"
    ):
        check_server(f"sqlite:///{tmp_path / place}")
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_a_database_that_is_there_or_can_be_made(place, tmp_path):
    """An MLflow database and a file in a folder that is not there yet: fine, and nothing is made."""
    check_server(place.uri)
    check_server(f"sqlite:///{tmp_path}/new/deep/mlflow.db")
    check_server("sqlite:///mlflow.db")
    assert not list(tmp_path.iterdir())


def test_a_database_server_that_is_not_there():
    """Found at the door, whatever driver it would take."""
    with pytest.raises(UsageError, match=r"tracking\.uri=postgresql\S+ does not answer: .*refused"):
        check_server(f"postgresql+psycopg2://me:secret@127.0.0.1:{free_port()}/mlflow")
