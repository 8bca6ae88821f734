"""Sends many ended records at once, where MLflow is an sqlite file: one transaction instead of some 25 a record."""

import itertools
import shutil
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psilon_bench.machine.process import is_gone
from psilon_bench.records.history import read_rows
from psilon_bench.records.places import HISTORY, MLFLOW_STATE
from psilon_bench.records.run_json import read_run
from psilon_bench.tracking.content import (
    STATUS,
    dataset_of,
    dataset_tag,
    ends_at,
    last_metrics,
    metrics_of_rows,
    milliseconds,
    params_of,
    record_files,
)
from psilon_bench.tracking.experiment import Experiment
from psilon_bench.tracking.logged_model import model_metrics
from psilon_bench.tracking.mlflow_internals import (
    ModelContent,
    RunContent,
    artifacts_uri,
    folder_of,
    insert_runs,
    latest_metrics,
    model_uri,
    validated,
)
from psilon_bench.tracking.model_folder import ServedNetwork, columns_of, served_network
from psilon_bench.tracking.state import MirrorState, sending_lock
from psilon_bench.tracking.sweep_run import tags_with_parent

METRICS_AT_ONCE = 20_000
RUNS_AT_ONCE = 50


@dataclass(frozen=True)
class EndedRecord:
    """The record of a run that has ended, with all that MLflow is to have of it."""

    folder: Path
    run: RunContent
    served: ServedNetwork | None


def send_ended(experiment: Experiment, folders: Iterable[Path], process_is_gone: bool = False) -> Iterator[Path]:
    """Send those of these records that have ended and were never sent; yield each folder once MLflow has all of it.

    The files are there before the run is, and the run is there as a whole. What is odd about one record is left to its
    mirror to tell; what is wrong with the database is raised, and nothing of these runs is in it then.
    """
    if not experiment.uri.startswith("sqlite") or not experiment.artifacts.startswith("file:"):
        return
    for sweep, records in itertools.groupby(sorted(folders), key=lambda folder: folder.parent):
        unsent = [folder for folder in records if not (folder / MLFLOW_STATE).exists()]
        while unsent:
            with sending_lock(sweep):
                batch = next_batch(experiment, unsent, process_is_gone)
                send_batch(experiment, batch)
            yield from (one.folder for one in batch)


def next_batch(experiment: Experiment, unsent: list[Path], process_is_gone: bool) -> list[EndedRecord]:
    """Return the next few records with what MLflow is to have of them, and remove them from `unsent`."""
    batch: list[EndedRecord] = []
    while unsent and len(batch) < RUNS_AT_ONCE and sum(len(one.run.metrics) for one in batch) < METRICS_AT_ONCE:
        folder = unsent.pop(0)
        run = None if (folder / MLFLOW_STATE).exists() else read_run(folder)
        if run is not None and (run["status"] != "running" or process_is_gone or is_gone(run)):
            try:
                batch.append(ended_record(experiment, folder, run))
            except Exception:  # whatever is odd in a record: its mirror meets it again, and tells
                continue
    return batch


def ended_record(experiment: Experiment, folder: Path, run: dict[str, Any]) -> EndedRecord:
    """Return all that MLflow is to have of the record."""
    at, began = ends_at(run), milliseconds(run["times"]["started"])
    rows, columns = read_rows(folder / HISTORY), columns_of(folder)
    content = RunContent(
        run_id=uuid.uuid4().hex,
        name=run["title"],
        status=STATUS[run["status"]],
        began=began,
        ended=at,
        tags=tags_with_parent(experiment, run, folder),
        params=params_of(run),
        metrics=metrics_of_rows(rows, at - 1) + last_metrics(run, rows, at),
        dataset=dataset_of(run["task"], columns),
        dataset_tag=dataset_tag(),
    )
    served = served_network(folder, run, columns)
    return EndedRecord(folder, with_model(validated(content), served), served)


def with_model(run: RunContent, served: ServedNetwork | None) -> RunContent:
    """Return the run with the model of its network, where it is one that MLflow can serve."""
    if served is not None:
        model_id = f"m-{uuid.uuid4().hex}"
        metrics = model_metrics(list(latest_metrics(run.metrics)), model_id, run.run_id, served)
        run.model = ModelContent(model_id, served.name, served.kind, served.params, metrics)
    return run


def send_batch(experiment: Experiment, batch: list[EndedRecord]) -> None:
    """Copy the files, then write all runs at once; mlflow.json says so before and after it."""
    for one in batch:
        MirrorState(uri=experiment.uri, run_id=one.run.run_id, done=False).write(one.folder / MLFLOW_STATE)
        target = folder_of(artifacts_uri(experiment.artifacts, one.run.run_id))
        for path, within in record_files(one.folder):
            (target / (within or "")).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / (within or "") / path.name)
        if one.served is not None and one.run.model is not None:
            model_id = one.run.model.model_id
            target = folder_of(model_uri(experiment.artifacts, model_id))
            target.mkdir(parents=True)
            one.served.write(target, one.run.run_id, model_id)
    if batch:
        insert_runs(experiment.client, experiment.experiment_id, experiment.artifacts, [one.run for one in batch])
    for one in batch:
        MirrorState(uri=experiment.uri, run_id=one.run.run_id, done=True).write(one.folder / MLFLOW_STATE)
