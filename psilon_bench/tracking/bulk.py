"""Many ended records at once, where MLflow is an sqlite file: a transaction for all instead of some 25 for each."""

import itertools
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from psilon_bench.machine.process import is_gone
from psilon_bench.records.history import read_rows
from psilon_bench.records.run_files import read_run
from psilon_bench.tracking.content import (
    STATUS,
    dataset_input,
    ends_at,
    files_of,
    last_metrics,
    metrics_of_rows,
    milliseconds,
    params_of,
    tags_of,
)
from psilon_bench.tracking.database import Whole, artifacts_folder, checked, insert
from psilon_bench.tracking.place import Place
from psilon_bench.tracking.state import STATE, State, sending_lock
from psilon_bench.tracking.sweep_run import parent_of

METRICS_AT_ONCE = 20_000
RUNS_AT_ONCE = 50


def send_ended(place: Place, folders: Iterable[Path], process_is_gone: bool = False) -> Iterator[Path]:
    """Send those of these records that have ended and were never sent; each folder, once MLflow has all of it.

    The files are there before the run is, and the run is there as a whole. What is odd about one record is left to its
    mirror to tell; what is wrong with the database is raised, and nothing of these runs is in it then.
    """
    if not place.uri.startswith("sqlite") or not place.artifacts.startswith("file:"):
        return
    for sweep, own in itertools.groupby(sorted(folders), key=lambda folder: folder.parent):
        waiting = [folder for folder in own if not (folder / STATE).exists()]
        while waiting:
            with sending_lock(sweep):
                part = taken(place, waiting, process_is_gone)
                send(place, part)
            yield from (folder for folder, _ in part)


def taken(place: Place, waiting: list[Path], process_is_gone: bool) -> list[tuple[Path, Whole]]:
    """The next few, which leave `waiting`."""
    part: list[tuple[Path, Whole]] = []
    while waiting and len(part) < RUNS_AT_ONCE and sum(len(one.metrics) for _, one in part) < METRICS_AT_ONCE:
        folder = waiting.pop(0)
        run = None if (folder / STATE).exists() else read_run(folder)
        if run is not None and (run["status"] != "running" or process_is_gone or is_gone(run)):
            try:
                part.append((folder, whole(place, folder, run)))
            except Exception:  # whatever is odd in a record: its mirror meets it again, and tells
                continue
    return part


def whole(place: Place, folder: Path, run: dict[str, Any]) -> Whole:
    """All that MLflow is to have of the record."""
    at, began = ends_at(run), milliseconds(run["times"]["started"])
    rows = read_rows(folder / "history.csv")
    tags = tags_of(run, folder)
    if run["in_sweep"]:
        tags["mlflow.parentRunId"] = parent_of(place, folder.parent, tags["sweep"], began)
    metrics = metrics_of_rows(rows, at - 1) + last_metrics(run, rows, at)
    dataset = dataset_input(run["task"]).dataset
    status = STATUS[run["status"]]
    return checked(Whole(uuid.uuid4().hex, run["title"], status, began, at, tags, params_of(run), metrics, dataset))


def send(place: Place, part: list[tuple[Path, Whole]]) -> None:
    """Files, then all runs at once, and what mlflow.json says before and after it."""
    for folder, one in part:
        State(uri=place.uri, run_id=one.run_id, done=False).write(folder / STATE)
        there = artifacts_folder(place.artifacts, one.run_id)
        for path, within in files_of(folder):
            (there / (within or "")).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, there / (within or "") / path.name)
    if part:
        insert(place.client, place.experiment_id, place.artifacts, [one for _, one in part])
    for folder, one in part:
        State(uri=place.uri, run_id=one.run_id, done=True).write(folder / STATE)
