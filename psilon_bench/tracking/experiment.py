"""An experiment of an MLflow, connected."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from psilon_bench.config.addresses import redacted
from psilon_bench.errors import UsageError
from psilon_bench.machine.mlflow_environment import set_up_mlflow
from psilon_bench.records.places import mlflow_artifacts
from psilon_bench.tracking.client import client_of, unusable
from psilon_bench.tracking.server import ANSWER_WITHIN_S
from psilon_bench.tracking.state import sending_lock

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

DESCRIPTION = """\
Runs of psilon_bench, copies of the records in its results folder.

A sweep is a run with the others below it; its description has the command, and links to the views `NAME: runs` and
`NAME: means` (over seeds). `psilon-report results/NAME` puts tables and figures there. "Model training" (above, left)
has the charts of runs, and the models."""


@dataclass
class Experiment:
    """An experiment with the client to reach it. `uri` is without secrets: it is the address's name in files."""

    client: "MlflowClient"
    experiment_id: str
    uri: str
    artifacts: str  # where the experiment keeps them
    parents: dict[Path, str] = field(default_factory=dict)  # ids of the runs of sweeps that are known to be there

    def has(self, run_id: str) -> bool:
        """Return whether this MLflow knows the run."""
        from mlflow.exceptions import MlflowException

        try:
            self.client.get_run(run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise
        return True

    def runs(self, wanted: str = "") -> "Iterator[Run]":
        """Yield the runs of the experiment that fit a filter of MLflow's, deleted ones included."""
        from mlflow.entities import ViewType

        token = None
        while token != "":
            page = self.client.search_runs([self.experiment_id], wanted, ViewType.ALL, 1000, page_token=token)
            yield from page
            token = page.token or ""


def connect(uri: str, name: str, results_dir: str) -> Experiment:
    """Return the experiment of this name, made where it is missing; UsageError where MLflow cannot be used.

    Database and experiment are created by one process at a time, under a lock: MLflow breaks a fresh sqlite file that
    several open at once.
    """
    set_up_mlflow(ANSWER_WITHIN_S)
    results = Path(results_dir).absolute()
    made = [folder for folder in (results, *results.parents) if not folder.exists()]
    lock = sending_lock(results)
    try:
        results.mkdir(parents=True, exist_ok=True)
        with lock:
            return found_or_created(uri, name, results)
    except Exception as error:  # MLflow lets those of the database and of the network through
        if made:
            Path(lock.lock_file).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # somebody may have found them and put something there
            for folder in made:
                folder.rmdir()
        raise error if isinstance(error, UsageError) else unusable(uri, error) from error


def found_or_created(uri: str, name: str, results: Path) -> Experiment:
    """Return the experiment of this name, made where it is missing; UsageError where it has been deleted."""
    client = client_of(uri)
    found = client.get_experiment_by_name(name)
    if found is None:
        artifacts = None if uri.startswith(("http", "databricks")) else mlflow_artifacts(results).as_uri()
        found = client.get_experiment(client.create_experiment(name, artifacts, {"mlflow.note.content": DESCRIPTION}))
    if found.lifecycle_stage == "deleted":
        raise UsageError(
            f"tracking.experiment={name} was deleted in MLflow at {redacted(uri)}. Name another one, or restore "
            f"it: MLFLOW_TRACKING_URI={redacted(uri)} mlflow experiments restore --experiment-id {found.experiment_id}"
        )
    return Experiment(client, found.experiment_id, redacted(uri), found.artifact_location)
