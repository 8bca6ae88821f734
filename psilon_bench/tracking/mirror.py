"""Sends one record to MLflow, through MLflow's own client, as far as the run has come."""

import uuid
from pathlib import Path
from typing import Any

from psilon_bench.machine.process import is_gone
from psilon_bench.records.history import read_rows
from psilon_bench.records.places import HISTORY, MLFLOW_STATE
from psilon_bench.records.run_json import read_run
from psilon_bench.tracking.content import (
    BATCH,
    STATUS,
    end_tags,
    ends_at,
    last_metrics,
    metrics_of_rows,
    milliseconds,
    params_of,
    record_files,
)
from psilon_bench.tracking.experiment import Experiment
from psilon_bench.tracking.logged_model import dataset_input, send_model
from psilon_bench.tracking.model_folder import columns_of, served_network
from psilon_bench.tracking.state import MirrorState, mirror_state, sending_lock
from psilon_bench.tracking.sweep_run import tags_with_parent


class Mirror:
    """The mirror of one record in MLflow; mlflow.json in the record says which run of MLflow it is, and whether whole.

    What MLflow has already is asked of MLflow, so that a mirror interrupted anywhere is finished by the next one with
    nothing missing and nothing twice. Errors are MLflow's own exceptions; the record is never changed.
    """

    def __init__(self, experiment: Experiment, folder: Path) -> None:
        self.experiment, self.client, self.folder = experiment, experiment.client, folder
        self.token = uuid.uuid4().hex  # in mlflow.json it says that no other mirror has sent since
        self.run_id: str | None = None
        self.created = False  # the run, by this mirror, so that MLflow has nothing else of it
        self.last_epoch = 0.0  # of the rows that MLflow has

    def send(self, process_is_gone: bool = False) -> bool:
        """Bring MLflow up to date; return whether the run has ended (or its process is gone) and everything is there.

        One mirror of a record sends at a time. After an exception, which leaves open what has arrived, and after
        another mirror, the next call asks MLflow again.
        """
        with sending_lock(self.folder.parent):
            state = mirror_state(self.folder)
            if state is None or state.token != self.token:
                self.run_id = None
            try:
                return self.send_locked(state, process_is_gone)
            except BaseException:
                self.run_id = None
                raise

    def still_runs(self) -> bool:
        """Return whether the run is still being computed."""
        run = read_run(self.folder)
        return run is not None and run["status"] == "running" and not is_gone(run)

    def send_locked(self, state: MirrorState | None, process_is_gone: bool) -> bool:
        """Bring MLflow up to date, under the sending lock; return as `send` does."""
        run = read_run(self.folder)
        if run is None:
            raise ValueError(f"{self.folder}/run.json cannot be read")
        ended = run["status"] != "running" or process_is_gone or is_gone(run)
        at = ends_at(run)
        if self.run_id is None:
            self.find_or_create(state, run, ended)
        self.send_rows(at - 1)
        if ended:
            self.close(run, at)
        return ended

    def close(self, run: dict[str, Any], at: int) -> None:
        """Send final metrics, files, and last of all the status; a run that still says `running` was killed."""
        assert self.run_id is not None
        rows = read_rows(self.folder / HISTORY)
        final = last_metrics(run, rows, at)
        columns = columns_of(self.folder)
        self.client.log_inputs(self.run_id, [dataset_input(run["task"], columns)])
        for path, within in record_files(self.folder):
            self.client.log_artifact(self.run_id, str(path), within)
        served = served_network(self.folder, run, columns)
        if served is None:
            self.client.log_batch(self.run_id, metrics=final)
        else:
            send_model(self.experiment, self.run_id, served, final, self.created)
        for key, value in end_tags(run).items():
            self.client.set_tag(self.run_id, key, value)
        self.client.set_terminated(self.run_id, STATUS[run["status"]], end_time=at)
        self.save_state(done=True)

    def send_rows(self, at: int) -> None:
        """Send the rows of the history that MLflow has not got, whole rows to a batch."""
        rows = [row for row in read_rows(self.folder / HISTORY) if row["epoch"] > self.last_epoch]
        if not rows:
            return
        per_batch = BATCH // len(rows[0])
        for start in range(0, len(rows), per_batch):
            part = rows[start : start + per_batch]
            self.client.log_batch(self.run_id, metrics=metrics_of_rows(part, at))
            self.last_epoch = part[-1]["epoch"]

    def find_or_create(self, state: MirrorState | None, run: dict[str, Any], ended: bool) -> None:
        """Set `run_id` to the MLflow run of this record: the one that was begun before, or a new one."""
        self.run_id, self.created = self.found(state, run), False
        if self.run_id is None:
            self.save_state(done=False)  # the next mirror knows that there may be a run
            self.run_id, self.created = self.create(run), True
        else:
            if not ended:
                self.client.update_run(self.run_id, "RUNNING")
            epochs = self.client.get_metric_history(self.run_id, "epoch")
            self.last_epoch = max((metric.value for metric in epochs), default=0.0)
        self.save_state(done=False)
        self.client.log_batch(self.run_id, params=params_of(run))

    def found(self, state: MirrorState | None, run: dict[str, Any]) -> str | None:
        """Return the run that mlflow.json names, if MLflow has it, or that of a mirror killed before naming it."""
        if state is not None and state.run_id is not None and self.experiment.has(state.run_id):
            return state.run_id
        if not (self.folder / MLFLOW_STATE).exists() or (state is not None and state.uri != self.experiment.uri):
            return None
        same = self.experiment.runs(f"tags.fingerprint = '{run['fingerprint']}'")
        return next((one.info.run_id for one in same if one.data.tags.get("record") == str(self.folder)), None)

    def create(self, run: dict[str, Any]) -> str:
        """Create an MLflow run, named and tagged for people, and return its id."""
        tags = tags_with_parent(self.experiment, run, self.folder)
        began = milliseconds(run["times"]["started"])
        return self.client.create_run(self.experiment.experiment_id, began, tags, run["title"]).info.run_id

    def save_state(self, done: bool) -> None:
        """Write mlflow.json whole."""
        state = MirrorState(uri=self.experiment.uri, run_id=self.run_id, done=done, token=None if done else self.token)
        state.write(self.folder / MLFLOW_STATE)
