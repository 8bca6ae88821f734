"""MLflow as a view of the local records: made from their folders, in batches, at any time."""

import contextlib
import getpass
import json
import logging
import math
import os
import socket
import sqlite3
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from psilon_bench.config import Config
from psilon_bench.errors import UsageError
from psilon_bench.history import read_rows
from psilon_bench.process import is_gone
from psilon_bench.writable import probe

if TYPE_CHECKING:
    from mlflow import MlflowClient

BATCH = 1000  # metrics in one request, MLflow's limit
ANSWER_WITHIN_S = 8
PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
SCHEMES = ("sqlite", "http", "https", *PORTS, "databricks")
PARENT = ".mlflow-parent.json"  # in the folder of a sweep: which MLflow run stands for it
MLFLOW_STATUS = {"running": "KILLED", "finished": "FINISHED", "failed": "FAILED", "killed": "KILLED"}


def tracking_uri(config: Config) -> str:
    """Where MLflow's view goes: tracking.uri, or an sqlite file in results_dir."""
    return config.tracking.uri or f"sqlite:///{Path(config.results_dir, 'mlflow.db').absolute()}"


def check_server(uri: str) -> None:
    """UsageError, within ten seconds, unless MLflow could write there. Touches no file, imports no MLflow."""
    scheme = uri.partition(":")[0].partition("+")[0]
    if scheme not in SCHEMES:
        raise UsageError(
            f"tracking.uri={uri} is none of {', '.join(SCHEMES)}. Take sqlite:///FILE or http://HOST:PORT."
        )
    place = urllib.parse.urlsplit(uri)
    try:
        if scheme.startswith("http"):
            urllib.request.urlopen(uri.rstrip("/") + "/health", timeout=ANSWER_WITHIN_S).close()
        elif scheme == "sqlite":
            check_database(Path(place.path[1:]))
        elif scheme in PORTS:
            socket.create_connection((place.hostname, place.port or PORTS[scheme]), ANSWER_WITHIN_S).close()
    except (OSError, ValueError, sqlite3.Error) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise UsageError(
            f"tracking.uri={uri} does not answer: {reason}. Start it (mlflow server), or set tracking=none."
        ) from error


def check_database(path: Path) -> None:
    """OSError or sqlite3.Error unless there is a database, or one could be made. MLflow would try for 100 seconds."""
    if not path.exists():
        probe(path.parent)
        return
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        database.execute("PRAGMA schema_version")


def connect(uri: str, experiment: str, results_dir: str) -> tuple["MlflowClient", str]:
    """A client and the experiment's id; UsageError where the place cannot be used.

    Database and experiment are created by one process at a time, under a lock: MLflow breaks a fresh sqlite file that
    several open at once.
    """
    quiet()
    from mlflow import MlflowClient

    results = Path(results_dir).absolute()
    made = [folder for folder in (results, *results.parents) if not folder.exists()]
    lock = FileLock(results / ".mlflow.lock")
    try:
        results.mkdir(parents=True, exist_ok=True)
        with lock:
            client = MlflowClient(uri)
            found = client.get_experiment_by_name(experiment)
            if found is not None:
                return client, found.experiment_id
            artifacts = (results / "mlartifacts").as_uri() if uri.startswith("sqlite:") else None
            return client, client.create_experiment(experiment, artifacts)
    except Exception as error:  # MLflow lets those of the database and of the network through
        if made:
            Path(lock.lock_file).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # somebody may have found them and put something there
            for folder in made:
                folder.rmdir()
        reason = " ".join(str(error).split())[:160]
        raise UsageError(
            f"tracking.uri={uri} cannot be used: {reason}. Take sqlite:///FILE or http://HOST:PORT, or tracking=none."
        ) from error


def quiet() -> None:
    """No telemetry, no progress bars, no tales of database migrations, no minutes of retries."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # what is sent twice would be there twice
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(ANSWER_WITHIN_S))
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    logging.getLogger("alembic").setLevel(logging.WARNING)


class Mirror:
    """One record in MLflow. mlflow.json in the record's folder says which MLflow run it is, and whether it is whole.

    What MLflow has already is asked of MLflow, so that a mirror interrupted anywhere is finished by the next one with
    nothing missing and nothing twice. Errors are MLflow's own exceptions; the record is never changed.
    """

    def __init__(self, client: "MlflowClient", experiment_id: str, uri: str, folder: Path) -> None:
        self.client, self.experiment_id, self.uri, self.folder = client, experiment_id, uri, folder
        self.token = uuid.uuid4().hex  # in mlflow.json it says that no other mirror has sent since
        self.run_id: str | None = None
        self.last_epoch = 0.0  # of the rows that MLflow has

    def send(self, process_is_gone: bool = False) -> bool:
        """Bring MLflow up to date; True once the run has ended (or its process is gone) and everything is there.

        One mirror of a record sends at a time. After an exception, which leaves open what has arrived, and after
        another mirror, the next call asks MLflow again.
        """
        lock = FileLock(self.folder.parent / f".{self.folder.name}.lock")
        with lock:
            if self.state().get("token") != self.token:
                self.run_id = None
            try:
                done = self.send_locked(process_is_gone)
            except BaseException:
                self.run_id = None
                raise
            if done:
                Path(lock.lock_file).unlink(missing_ok=True)
            return done

    def send_locked(self, process_is_gone: bool) -> bool:
        """See send."""
        at = milliseconds()
        run = json.loads((self.folder / "run.json").read_text())
        if run["status"] != "running":
            # one time for the run's last words, whenever and how often they are sent: MLflow drops equal metrics
            at = milliseconds(run["times"]["ended"])
        if self.run_id is None:
            self.find_or_create(run)
        self.send_rows(at - 1)
        if run["status"] == "running" and not process_is_gone and not is_gone(run):
            return False
        self.close(run, at)
        return True

    def close(self, run: dict[str, Any], at: int) -> None:
        """Final metrics, files, status; a run that still says `running` was killed without a word."""
        assert self.run_id is not None
        rows = read_rows(self.folder / "history.csv") or [{}]
        new = {key: value for key, value in run["metrics"].items() if rows[-1].get(key) != value}
        self.client.log_batch(self.run_id, metrics=as_metrics(new, int(rows[-1].get("step", 0)), at))
        self.client.log_artifacts(self.run_id, str(self.folder))
        self.client.set_terminated(self.run_id, MLFLOW_STATUS[run["status"]], end_time=at)
        self.save_state(done=True)

    def send_rows(self, at: int) -> None:
        """The rows of the history that MLflow has not got, whole rows to a batch."""
        rows = [row for row in read_rows(self.folder / "history.csv") if row["epoch"] > self.last_epoch]
        if not rows:
            return
        per_batch = BATCH // len(rows[0])
        for start in range(0, len(rows), per_batch):
            part = rows[start : start + per_batch]
            metrics = [metric for row in part for metric in as_metrics(row, int(row["step"]), at)]
            self.client.log_batch(self.run_id, metrics=metrics)
            self.last_epoch = part[-1]["epoch"]

    def find_or_create(self, run: dict[str, Any]) -> None:
        """The MLflow run of this record: the one that was begun before, or a new one."""
        from mlflow.entities import Param

        known = self.state()
        if known.get("uri") == self.uri:
            self.run_id = known["run_id"] or self.search(run)
        if self.run_id is None:
            self.save_state(done=False)  # the next mirror knows that there may be a run
            self.run_id = self.create(run)
        else:
            self.client.update_run(self.run_id, "RUNNING")
            epochs = self.client.get_metric_history(self.run_id, "epoch")
            self.last_epoch = max((metric.value for metric in epochs), default=0.0)
        self.save_state(done=False)
        params = [Param(key, str(value)[:6000]) for key, value in run["params"].items()]
        self.client.log_batch(self.run_id, params=params)
        self.client.log_inputs(self.run_id, [dataset_input(run["task"])])

    def search(self, run: dict[str, Any]) -> str | None:
        """The MLflow run that was created for this record by a mirror that did not live to write down its id."""
        found = self.client.search_runs([self.experiment_id], f"tags.fingerprint = '{run['fingerprint']}'")
        return next((one.info.run_id for one in found if one.data.tags["record"] == str(self.folder)), None)

    def create(self, run: dict[str, Any]) -> str:
        """A new MLflow run, named and tagged for people; its id."""
        params = run["params"]
        tags = {
            "dataset": run["task"]["name"],
            "model": params["model.name"],
            "reg": params["reg.name"],
            "sweep": params["name"],
            "seed": str(run["seed"]),
            "fingerprint": run["fingerprint"],
            "record": str(self.folder),
        } | source_tags()
        began = milliseconds(run["times"]["started"])
        if run["in_sweep"]:
            tags["mlflow.parentRunId"] = self.parent(params["name"], began)
        return self.client.create_run(self.experiment_id, began, tags, run["title"]).info.run_id

    def parent(self, name: str, began: int) -> str:
        """The MLflow run of the sweep that this record belongs to; the first record of a sweep creates it."""
        state = self.folder.parent / PARENT
        with FileLock(state.with_suffix(".lock")):
            known = json.loads(state.read_text()) if state.exists() else {}
            if known.get("uri") == self.uri:
                return known["run_id"]
            tags = {"sweep": name, "parent_of": str(self.folder.parent)} | source_tags()
            found = self.client.search_runs([self.experiment_id], f"tags.sweep = '{name}'")
            made = [run for run in found if run.data.tags.get("parent_of") == tags["parent_of"]]  # by one that died
            run = made[0] if made else self.client.create_run(self.experiment_id, began, tags, f"sweep {name}")
            self.client.set_terminated(run.info.run_id)
            state.write_text(json.dumps({"uri": self.uri, "run_id": run.info.run_id}) + "\n")
            return run.info.run_id

    def state(self) -> dict[str, Any]:
        """mlflow.json; nothing where there is none."""
        return state_of(self.folder)

    def save_state(self, done: bool) -> None:
        """Write mlflow.json whole."""
        state = {"uri": self.uri, "run_id": self.run_id, "done": done} | ({} if done else {"token": self.token})
        part = self.folder / ".mlflow.json.part"
        part.write_text(json.dumps(state) + "\n")
        part.replace(self.folder / "mlflow.json")


def source_tags() -> dict[str, str]:
    """Who made a run, and with what, where MLflow's own table shows it."""
    return {"mlflow.user": getpass.getuser(), "mlflow.source.name": "psilon-run", "mlflow.source.type": "LOCAL"}


def dataset_input(task: dict[str, Any]) -> Any:
    """The task of a run.json, for MLflow's column of data sets; told apart by its checksum."""
    from mlflow.entities import Dataset, DatasetInput

    source = json.dumps({"source": task["source"]})
    return DatasetInput(Dataset(task["name"], task["checksum"][:12], "psilon_bench", source), [])


def state_of(folder: Path) -> dict[str, Any]:
    """mlflow.json of a record; nothing where there is none."""
    state = folder / "mlflow.json"
    return json.loads(state.read_text()) if state.exists() else {}


def is_sent(record: Path, uri: str) -> bool:
    """Whether MLflow at `uri` has all of this record, as it is now."""
    state = state_of(record)
    if state.get("uri") != uri or not state["done"]:
        return False
    return (record / "mlflow.json").stat().st_mtime >= (record / "run.json").stat().st_mtime


def read_run(record: Path) -> dict[str, Any] | None:
    """run.json; None where it cannot be read."""
    try:
        return json.loads((record / "run.json").read_text())
    except (OSError, ValueError):
        return None


def as_metrics(values: dict[str, float], step: int, timestamp: int) -> list[Any]:
    """MLflow metrics of one step; what is not finite stays in the record alone (MLflow would make it 1.8e308)."""
    from mlflow.entities import Metric

    return [Metric(key, value, timestamp, step) for key, value in values.items() if math.isfinite(value)]


def milliseconds(moment: str | None = None) -> int:
    """Since the epoch, as MLflow counts, of this ISO 8601 moment or of now."""
    return time.time_ns() // 1_000_000 if moment is None else int(datetime.fromisoformat(moment).timestamp() * 1000)
