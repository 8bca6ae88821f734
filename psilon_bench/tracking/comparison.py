"""Compares records with MLflow: MLflow is asked what it has, whatever mlflow.json says."""

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from psilon_bench.records.places import MLFLOW_STATE
from psilon_bench.tracking.experiment import Experiment
from psilon_bench.tracking.state import MirrorState, is_sent, mirror_state, sending_lock


def missing_records(experiment: Experiment, records: Mapping[Path, str], rebuild: bool = False) -> list[Path]:
    """Return the records that MLflow has not got, or not whole, with mlflow.json put right; nobody sends meanwhile.

    The records are given with the names of their sweeps. With `rebuild` none of them counts as whole.
    """
    if not records:
        return []
    with contextlib.ExitStack() as locks:
        for sweep in sorted({record.parent for record in records}):
            locks.enter_context(sending_lock(sweep))
        known = mirrored_folders(experiment, records.values())
        by_folder = {folder: run_id for run_id, folder in known.items()}
        return [
            record
            for record in records
            if needs_sending(experiment, record, set(known), by_folder.get(str(record)), rebuild)
        ]


def mirrored_folders(experiment: Experiment, sweeps: Iterable[str]) -> dict[str, str]:
    """Return the folders of the records that this MLflow has of these sweeps, by the ids of their runs."""
    filters = (f"tags.sweep = '{name}' and tags.record != ''" for name in sorted(set(sweeps)))
    return {run.info.run_id: run.data.tags["record"] for wanted in filters for run in experiment.runs(wanted)}


def needs_sending(experiment: Experiment, record: Path, known: set[str], tagged: str | None, rebuild: bool) -> bool:
    """Return whether the record is to be sent, after putting mlflow.json right.

    Its run is the one that mlflow.json names, or else the one that has its folder as a tag; `known` are the ids of all
    runs that MLflow has.
    """
    state = mirror_state(record)
    named = state.run_id if state is not None and state.run_id in known else None
    run_id = named or tagged
    if run_id is None:
        (record / MLFLOW_STATE).unlink(missing_ok=True)
        return True
    whole = state is not None and named is not None and is_sent(record, state.uri) and not rebuild
    if state is None or (state.uri, state.run_id, state.done) != (experiment.uri, run_id, whole):
        MirrorState(uri=experiment.uri, run_id=run_id, done=whole).write(record / MLFLOW_STATE)
    return not whole
