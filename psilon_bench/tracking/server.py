"""Finds out whether MLflow could write at an address: in seconds, without MLflow and without leaving anything there."""

import contextlib
import http.client
import re
import socket
import sqlite3
import ssl
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from filelock import Timeout

from psilon_bench.config.addresses import database_of, redacted, sqlite_uri
from psilon_bench.config.schema import Config
from psilon_bench.errors import UsageError
from psilon_bench.records.places import mlflow_database
from psilon_bench.records.writable import probe

ANSWER_WITHIN_S = 8
PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
SCHEMES = ("sqlite", "http", "https", *PORTS, "databricks")


def tracking_uri(config: Config) -> str:
    """Return the address of MLflow: tracking.uri, or an sqlite file in results_dir."""
    return config.tracking.uri or default_uri(Path(config.results_dir))


def tracked_at(config: Config) -> str | None:
    """Return the address of MLflow where it tracks, None with tracking=none."""
    return tracking_uri(config) if config.tracking.name == "mlflow" else None


def default_uri(results_dir: Path) -> str:
    """Return the address of the database beside the records."""
    return sqlite_uri(mlflow_database(results_dir))


def check_server(uri: str, writes: bool = True) -> None:
    """Raise UsageError, within ten seconds, unless something is there that MLflow could ask. No file is left behind."""
    scheme = uri.partition(":")[0].partition("+")[0]
    if scheme not in SCHEMES:
        raise UsageError(
            f"tracking.uri={redacted(uri)} is none of {', '.join(SCHEMES)}. Take sqlite:///FILE or http://HOST:PORT."
        )
    try:
        if scheme == "sqlite":
            check_database(uri, writes)
        elif scheme.startswith("http"):
            check_http(uri)
        elif scheme in PORTS:
            parts = urllib.parse.urlsplit(uri)
            socket.create_connection((parts.hostname, parts.port or PORTS[scheme]), ANSWER_WITHIN_S).close()
    except (OSError, ValueError, sqlite3.Error, http.client.HTTPException) as error:
        raise refused(uri, short_reason(error)) from error


def check_http(uri: str) -> None:
    """Raise OSError unless a server answers; one that asks who you are does."""
    parts = urllib.parse.urlsplit(uri)
    server, path = parts.netloc.rpartition("@")[2], parts.path.rstrip("/") + "/health"
    address = urllib.parse.urlunsplit((parts.scheme, server, path, parts.query, parts.fragment))
    try:
        urllib.request.urlopen(address, timeout=ANSWER_WITHIN_S).close()
    except urllib.error.HTTPError as error:
        with error:
            if error.code not in (401, 403):
                raise
    except urllib.error.URLError as error:
        if not isinstance(error.reason, ssl.SSLCertVerificationError):  # MLflow may have been told to trust it
            raise


def check_database(uri: str, writes: bool) -> None:
    """Raise OSError or sqlite3.Error unless there is a database that can be read, or takes writes, or could be made.

    It is opened for writing, so that sqlite takes back what a killed process left half written. MLflow would try for
    100 s.
    """
    path = database_of(uri)
    if path is None:
        raise ValueError("it names no file. Take sqlite:///FILE")
    if not path.exists() and writes:
        probe(path.parent)
        return
    address = f"{path.absolute().as_uri()}?mode=rw"
    with contextlib.closing(sqlite3.connect(address, uri=True, timeout=ANSWER_WITHIN_S)) as database:
        database.execute("BEGIN IMMEDIATE" if writes else "PRAGMA schema_version")
        database.rollback()


def refused(uri: str, reason: str) -> UsageError:
    """Return the error that says why MLflow cannot be used there, in words that fit a file or a server."""
    shown = f"tracking.uri={redacted(uri)}"
    if not uri.startswith("sqlite"):
        return UsageError(f"{shown} does not answer: {reason}. Start it (mlflow server), or set tracking=none.")
    if "not a database" in reason or "malformed" in reason:
        remedy = "Move it away, psilon-sync makes it again from the records; or set tracking=none"
    elif "locked" in reason:
        remedy = "Another process writes to it: wait for its end, or set tracking=none"
    else:
        remedy = "Set tracking.uri=sqlite:///FILE where you may write, or tracking=none"
    return UsageError(f"{shown} cannot be used: {reason}. {remedy}.")


def answers(uri: str) -> bool:
    """Return whether `check_server` finds something at this address."""
    try:
        check_server(uri)
    except UsageError:
        return False
    return True


def short_reason(error: BaseException) -> str:
    """Return what an exception of a server, a proxy or a database says, in one short line without SQL."""
    if isinstance(error, Timeout):
        return f"another process holds {error.lock_file}"
    if isinstance(error, OSError) and error.strerror and not isinstance(error, urllib.error.URLError):
        return error.strerror
    cause = error.reason if isinstance(error, urllib.error.URLError) and not hasattr(error, "code") else error
    text = str(cause).partition("[SQL:")[0].partition("(Background on this error")[0]
    text = re.sub(r"^\(\w+\.\w+\) ", "", " ".join(text.split()))  # of SQLAlchemy: (sqlite3.DatabaseError)
    return redacted(text)[:160].rstrip(".") or type(error).__name__
