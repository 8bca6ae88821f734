"""An experiment of an MLflow, connected."""

import contextlib
import logging
import os
import tempfile
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from psilon_bench.config.addresses import redacted
from psilon_bench.errors import UsageError
from psilon_bench.tracking.server import ANSWER_WITHIN_S, reason_of, refused
from psilon_bench.tracking.state import sending_lock

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


@dataclass
class Place:
    """Client, experiment and address (without secrets: the name that files have for it)."""

    client: "MlflowClient"
    experiment_id: str
    uri: str
    artifacts: str  # where the experiment keeps them
    parents: dict[Path, str] = field(default_factory=dict)  # the runs of sweeps that are known to be there

    def has(self, run_id: str) -> bool:
        """Whether this MLflow knows the run."""
        from mlflow.exceptions import MlflowException

        try:
            self.client.get_run(run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise
        return True

    def runs(self, wanted: str = "") -> "Iterator[Run]":
        """Its runs that fit a filter, those in MLflow's bin included."""
        from mlflow.entities import ViewType

        token = None
        while token != "":
            page = self.client.search_runs([self.experiment_id], wanted, ViewType.ALL, 1000, page_token=token)
            yield from page
            token = page.token or ""


def connect(uri: str, experiment: str, results_dir: str) -> Place:
    """UsageError where the place cannot be used.

    Database and experiment are created by one process at a time, under a lock: MLflow breaks a fresh sqlite file that
    several open at once.
    """
    quiet()
    results = Path(results_dir).absolute()
    made = [folder for folder in (results, *results.parents) if not folder.exists()]
    lock = sending_lock(results)
    try:
        results.mkdir(parents=True, exist_ok=True)
        with lock:
            return opened(uri, experiment, results)
    except Exception as error:  # MLflow lets those of the database and of the network through
        if made:
            Path(lock.lock_file).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # somebody may have found them and put something there
            for folder in made:
                folder.rmdir()
        raise error if isinstance(error, UsageError) else unusable(uri, error) from error


def opened(uri: str, experiment: str, results: Path) -> Place:
    """See connect."""
    client = client_of(uri)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        own = None if uri.startswith(("http", "databricks")) else (results / "mlartifacts").as_uri()
        found = client.get_experiment(client.create_experiment(experiment, own))
    if found.lifecycle_stage == "deleted":
        raise UsageError(
            f"tracking.experiment={experiment} was deleted in MLflow at {redacted(uri)}. Name another one, or restore "
            f"it: MLFLOW_TRACKING_URI={redacted(uri)} mlflow experiments restore --experiment-id {found.experiment_id}"
        )
    return Place(client, found.experiment_id, redacted(uri), found.artifact_location)


def logged_in(uri: str) -> str:
    """The address for MLflow. User and password go where MLflow looks for them, and so never into a message."""
    place = urllib.parse.urlsplit(uri)
    if not uri.startswith("http") or "@" not in place.netloc:
        return uri
    os.environ["MLFLOW_TRACKING_USERNAME"] = urllib.parse.unquote(place.username or "")
    os.environ["MLFLOW_TRACKING_PASSWORD"] = urllib.parse.unquote(place.password or "")
    return place._replace(netloc=place.netloc.rpartition("@")[2]).geturl()


def unusable(uri: str, error: Exception) -> UsageError:
    """The words for what went wrong when MLflow was asked."""
    status = getattr(error, "get_http_status_code", lambda: None)()
    shown = f"tracking.uri={redacted(uri)}"
    if status == 401:
        return UsageError(
            f"{shown} wants to know who you are, and does not take what it got. Set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD (or MLFLOW_TRACKING_TOKEN), or tracking=none."
        )
    if status == 403:
        return UsageError(f"{shown} does not allow you this: {reason_of(error)}. Ask its owner, or set tracking=none.")
    if uri.startswith("sqlite"):
        return refused(uri, reason_of(error))
    return UsageError(
        f"{shown} cannot be used: {reason_of(error)}. Take sqlite:///FILE or http://HOST:PORT, or tracking=none."
    )


def quiet() -> None:
    """No telemetry, no progress bars, no tales of database migrations, no minutes of retries, no tracebacks."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # what is sent twice would be there twice
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(ANSWER_WITHIN_S))
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")  # its errors come to us as exceptions
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        Path.home()
    except RuntimeError:  # a container's user without a name: MLflow asks for the home when it is imported
        os.environ["HOME"] = tempfile.gettempdir()


def client_of(uri: str) -> "MlflowClient":
    """A client of the MLflow there, whatever the experiment."""
    quiet()
    from mlflow import MlflowClient

    from psilon_bench.tracking import database

    if uri.startswith("sqlite"):
        database.prepare(uri)
    return MlflowClient(logged_in(uri))
