"""Sends many ended records at once, where MLflow is an sqlite file: one transaction instead of some 25 a record."""

import itertools
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from psilon_bench.machine.process import is_gone
from psilon_bench.records.history import read_rows
from psilon_bench.records.places import HISTORY, MLFLOW_STATE
from psilon_bench.records.run_json import read_run
from psilon_bench.tracking.content import (
    STATUS,
    dataset_input,
    ends_at,
    last_metrics,
    metrics_of_rows,
    milliseconds,
    params_of,
    record_files,
)
from psilon_bench.tracking.experiment import Experiment
from psilon_bench.tracking.mlflow_internals import RunContent, artifacts_folder, insert_runs, validated
from psilon_bench.tracking.state import MirrorState, sending_lock
from psilon_bench.tracking.sweep_run import tags_with_parent

METRICS_AT_ONCE = 20_000
RUNS_AT_ONCE = 50


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
            yield from (folder for folder, _ in batch)


def next_batch(experiment: Experiment, unsent: list[Path], process_is_gone: bool) -> list[tuple[Path, RunContent]]:
    """Return the next few records with what MLflow is to have of them, and remove them from `unsent`."""
    batch: list[tuple[Path, RunContent]] = []
    while unsent and len(batch) < RUNS_AT_ONCE and sum(len(run.metrics) for _, run in batch) < METRICS_AT_ONCE:
        folder = unsent.pop(0)
        run = None if (folder / MLFLOW_STATE).exists() else read_run(folder)
        if run is not None and (run["status"] != "running" or process_is_gone or is_gone(run)):
            try:
                batch.append((folder, content_of(experiment, folder, run)))
            except Exception:  # whatever is odd in a record: its mirror meets it again, and tells
                continue
    return batch


def content_of(experiment: Experiment, folder: Path, run: dict[str, Any]) -> RunContent:
    """Return all that MLflow is to have of the record."""
    at, began = ends_at(run), milliseconds(run["times"]["started"])
    rows = read_rows(folder / HISTORY)
    tags = tags_with_parent(experiment, run, folder)
    metrics = metrics_of_rows(rows, at - 1) + last_metrics(run, rows, at)
    dataset = dataset_input(run["task"]).dataset
    status = STATUS[run["status"]]
    return validated(
        RunContent(uuid.uuid4().hex, run["title"], status, began, at, tags, params_of(run), metrics, dataset)
    )


def send_batch(experiment: Experiment, batch: list[tuple[Path, RunContent]]) -> None:
    """Copy the files, then write all runs at once; mlflow.json says so before and after it."""
    for folder, run in batch:
        MirrorState(uri=experiment.uri, run_id=run.run_id, done=False).write(folder / MLFLOW_STATE)
        target = artifacts_folder(experiment.artifacts, run.run_id)
        for path, within in record_files(folder):
            (target / (within or "")).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / (within or "") / path.name)
    if batch:
        insert_runs(experiment.client, experiment.experiment_id, experiment.artifacts, [run for _, run in batch])
    for folder, run in batch:
        MirrorState(uri=experiment.uri, run_id=run.run_id, done=True).write(folder / MLFLOW_STATE)
