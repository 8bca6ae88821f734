"""Addresses: what is written of them holds no secret, and an sqlite file is found again from everywhere."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from psilon_bench.config.addresses import database_of, redacted, resolved, sqlite_uri
from psilon_bench.tracking.client import logged_in

WORDS = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://me:secret@host:5000/x", "http://host:5000/x"),
        ("https://secret@host", "https://host"),
        ("http://me:se@cret@host/a@b", "http://host/a@b"),
        ("http://me:sec/ret@host", "http://host"),
        ("http://me:secret@[::1]:5000", "http://[::1]:5000"),
        ("postgresql+psycopg2://me:secret@host:1/db", "postgresql+psycopg2://me@host:1/db"),
        ("mysql://host/db?user=me&password=secret&charset=utf8", "mysql://host/db?user=me&password=***&charset=utf8"),
        ("mssql+pyodbc:///?odbc_connect=PWD%3Dsecret", "mssql+pyodbc:///?odbc_connect=***"),
        (r"tracking.uri=http\://me\:secret@host\:5000 reg.lam=1", r"tracking.uri=http\://host\:5000 reg.lam=1"),
        ("databricks://token:secret@host", "databricks://token@host"),
        ("tracking.uri=http://me:secret@host is http://me:secret@host.", "tracking.uri=http://host is http://host."),
    ],
)
def test_secrets_are_left_out(address: Any, shown: Any) -> None:
    """User and password of a server, the password of a database, what a query calls one; in the middle of text, too."""
    assert redacted(address) == shown


@pytest.mark.parametrize(
    "address", ["http://host:5000/a@b", "https://host/a@b:c", "sqlite:////me@work/x.db?a=b", "databricks", "me@host"]
)
def test_what_is_no_secret_stays(address: Any) -> None:
    """Paths may hold what looks like a login."""
    assert redacted(address) == address


@given(WORDS, WORDS)
def test_any_login_is_left_out_and_reaches_mlflow(user: Any, password: Any) -> None:
    """Whatever a user and a password are made of."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_USERNAME", "")
        patch.setenv("MLFLOW_TRACKING_PASSWORD", "")
        uri = f"http://{quote(user, safe='')}:{quote(password, safe='')}@host:5000/x"
        assert redacted(uri) == logged_in(uri) == "http://host:5000/x"
        assert (os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"]) == (user, password)


@given(st.text(st.characters(exclude_categories=["C"], exclude_characters="/"), min_size=3))
def test_an_sqlite_file_is_found_again(name: Any) -> None:
    """SQLAlchemy and we make the same file of its address, whatever its name."""
    file = Path("/results") / name / "mlflow.db"
    uri = sqlite_uri(file)
    assert make_url(uri).database == str(file)
    assert database_of(uri) == file
    assert resolved(uri) == uri


def test_a_relative_file_is_resolved_once(tmp_path: Path, config: Any) -> None:
    """By the configuration, so that the record names the file wherever it is read."""
    assert config("tracking.uri=sqlite:///sub/x.db").tracking.uri == f"sqlite:///{tmp_path}/sub/x.db"
    assert config("tracking.uri=http://me:secret@host").tracking.uri == "http://me:secret@host"


def test_what_is_recorded_of_the_configuration_holds_no_password(config: Any) -> None:
    """config.yaml and the parameters."""
    one = config("tracking=mlflow", "tracking.uri=http://me:secret@host")
    assert one.nested()["tracking"]["uri"] == one.flat()["tracking.uri"] == "http://host"
