"""A client of an MLflow, and the words for what goes wrong when it is asked."""

import urllib.parse
from typing import TYPE_CHECKING

from psilon_bench.config.addresses import redacted
from psilon_bench.errors import UsageError
from psilon_bench.machine.mlflow_environment import set_mlflow_login, set_up_mlflow
from psilon_bench.tracking.server import ANSWER_WITHIN_S, refused, short_reason

if TYPE_CHECKING:
    from mlflow import MlflowClient


def client_of(uri: str) -> "MlflowClient":
    """Return a client of the MLflow at this address, whatever the experiment."""
    set_up_mlflow(ANSWER_WITHIN_S)
    from mlflow import MlflowClient

    from psilon_bench.tracking import mlflow_internals

    if uri.startswith("sqlite"):
        mlflow_internals.open_database(uri)
    return MlflowClient(logged_in(uri))


def logged_in(uri: str) -> str:
    """Return the address without user and password, which go to where MLflow looks for them."""
    parts = urllib.parse.urlsplit(uri)
    if not uri.startswith("http") or "@" not in parts.netloc:
        return uri
    set_mlflow_login(urllib.parse.unquote(parts.username or ""), urllib.parse.unquote(parts.password or ""))
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], *parts[2:]))


def unusable(uri: str, error: Exception) -> UsageError:
    """Return the error that says what went wrong when MLflow was asked, and the remedy."""
    status = getattr(error, "get_http_status_code", lambda: None)()
    shown = f"tracking.uri={redacted(uri)}"
    if status == 401:
        return UsageError(
            f"{shown} wants to know who you are, and does not take what it got. Set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD (or MLFLOW_TRACKING_TOKEN), or tracking=none."
        )
    if status == 403:
        reason = short_reason(error)
        return UsageError(f"{shown} does not allow you this: {reason}. Ask its owner, or set tracking=none.")
    if uri.startswith("sqlite"):
        return refused(uri, short_reason(error))
    return UsageError(
        f"{shown} cannot be used: {short_reason(error)}. Take sqlite:///FILE or http://HOST:PORT, or tracking=none."
    )
