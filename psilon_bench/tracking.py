"""MLflow as a view of the local record: sent in batches, never in the way of training."""

import json
import logging
import math
import os
import time
import urllib.error
import urllib.request
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from collections.abc import Iterator

from filelock import FileLock

from psilon_bench.config import Config
from psilon_bench.errors import UsageError
from psilon_bench.record import Record

if TYPE_CHECKING:
    from mlflow import MlflowClient

SEND_EVERY_S = 5.0
BATCH = 1000  # metrics in one request, MLflow's limit
ANSWER_WITHIN_S = 8
MLFLOW_STATUS = {"finished": "FINISHED", "failed": "FAILED", "killed": "KILLED"}


def tracking_uri(config: Config) -> str:
    """Where MLflow's records go: tracking.uri, or an sqlite file in results_dir."""
    return config.tracking.uri or f"sqlite:///{Path(config.results_dir, 'mlflow.db').absolute()}"


def check_server(config: Config) -> None:
    """UsageError, within ten seconds, unless the tracking server answers. Touches no file."""
    uri = tracking_uri(config)
    if config.tracking.name == "none" or not uri.startswith(("http://", "https://")):
        return
    try:
        with urllib.request.urlopen(uri.rstrip("/") + "/health", timeout=ANSWER_WITHIN_S):
            pass
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise UsageError(
            f"tracking.uri={uri} does not answer: {reason}. Start it (mlflow server), or set tracking=none."
        ) from error


class Tracker:
    """One MLflow run that mirrors a record.

    Construction connects (UsageError where the place cannot be used). After that a failure is told once and changes
    nothing: the record keeps every number, and its run.json says that MLflow has not got them all.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.uri = tracking_uri(config)
        self.client, self.experiment_id = connect(self.uri, config)
        self.broken: str | None = None
        self.sent = 0  # rows of the history that MLflow has
        self.sent_at = time.monotonic()

    def start(self, record: Record) -> None:
        """Create the run, named and tagged for people, with its parameters."""
        self.record = record
        self.run_id: str | None = None
        record.run["mlflow"] = {"uri": self.uri, "run_id": None, "sent": False}
        with self.harmless():
            self.create()
        record.save()

    def create(self) -> None:
        """Create the run in MLflow and remember its id."""
        from mlflow.entities import Param

        config = self.config
        tags = {
            "dataset": config.dataset.name,
            "model": config.model.name,
            "reg": config.reg.name,
            "sweep": config.name,
            "seed": str(config.seed),
            "fingerprint": config.fingerprint(),
            "record": str(self.record.folder),
        }
        run = self.client.create_run(self.experiment_id, milliseconds(), tags, config.title)
        self.run_id = self.record.run["mlflow"]["run_id"] = run.info.run_id
        params = [Param(key, str(value)[:6000]) for key, value in config.flat().items()]
        self.client.log_batch(self.run_id, params=params)

    def send_rows(self, at_once: bool = False) -> None:
        """Send the rows that are new, at most every few seconds unless at_once."""
        if not at_once and (self.broken or time.monotonic() - self.sent_at < SEND_EVERY_S):
            return
        with self.harmless():
            rows = self.record.rows[self.sent :]
            metrics = [metric for row in rows for metric in as_metrics(row, int(row["step"]))]
            for start in range(0, len(metrics), BATCH):
                self.client.log_batch(self.run_id, metrics=metrics[start : start + BATCH])
            self.sent += len(rows)
        self.sent_at = time.monotonic()

    def finish(self) -> None:
        """Send what is left once the record is closed: rows, final metrics, the files, the status."""
        record, self.broken = self.record, None
        if self.run_id is None:
            with self.harmless():
                self.create()
        self.send_rows(at_once=True)
        if self.broken:
            return
        with self.harmless():
            last_step = int(record.rows[-1]["step"]) if record.rows else 0
            self.client.log_batch(self.run_id, metrics=as_metrics(record.run["metrics"], last_step))
            record.run["mlflow"]["sent"] = True
            record.save()
            self.client.log_artifacts(self.run_id, str(record.folder))
            self.client.set_terminated(self.run_id, MLFLOW_STATUS[record.run["status"]], end_time=milliseconds())
        if self.broken:
            record.run["mlflow"]["sent"] = False
            record.save()

    @contextmanager
    def harmless(self) -> Iterator[None]:
        """MLflow's failures become one warning; anything of ours passes."""
        try:
            yield
        except Exception as error:  # whatever a server, a proxy or a database may raise
            if self.broken is None:
                text = str(error).splitlines()[0][:200]
                warnings.warn(f"MLflow at {self.uri}: {text}. The record in {self.record.folder} is whole.", stacklevel=2)
            self.broken = str(error)


def connect(uri: str, config: Config) -> tuple["MlflowClient", str]:
    """A client and the experiment's id. Database and experiment are created by one process at a time, under a lock.

    UsageError where the place cannot be used.
    """
    quiet()
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    results = Path(config.results_dir).absolute()
    results.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(results / ".mlflow.lock"):
            client = MlflowClient(uri)
            name = config.tracking.experiment
            experiment = client.get_experiment_by_name(name)
            if experiment is not None:
                return client, experiment.experiment_id
            local = uri.startswith("sqlite:")
            return client, client.create_experiment(name, (results / "mlartifacts").as_uri() if local else None)
    except MlflowException as error:
        text = json.dumps(str(error).splitlines()[0][:200])
        raise UsageError(
            f"tracking.uri={uri} cannot be used: {text}. Take sqlite:///FILE or http://HOST:PORT, or set tracking=none."
        ) from error


def quiet() -> None:
    """No telemetry, no progress bars, no tales of database migrations, no minutes of retries in a training loop."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(ANSWER_WITHIN_S))
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    logging.getLogger("alembic").setLevel(logging.WARNING)


def as_metrics(values: dict[str, float], step: int) -> list[Any]:
    """MLflow metrics of one step; what is not finite is left to the local record (MLflow would store 1.8e308)."""
    from mlflow.entities import Metric

    now = milliseconds()
    return [Metric(key, float(value), now, step) for key, value in values.items() if math.isfinite(value)]


def milliseconds() -> int:
    """Since the epoch, as MLflow counts."""
    return time.time_ns() // 1_000_000
