"""What MLflow lacks of some records: MLflow is asked, whatever mlflow.json says."""

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from psilon_bench.tracking.place import Place
from psilon_bench.tracking.state import STATE, State, is_sent, sending_lock, state_of


def lacking_of(place: Place, records: Mapping[Path, str], rebuild: bool = False) -> list[Path]:
    """Those that MLflow has not got, or not whole, with mlflow.json put right; nobody else sends meanwhile.

    The records are given with the names of their sweeps. With `rebuild` none of them counts as whole.
    """
    if not records:
        return []
    with contextlib.ExitStack() as locks:
        for sweep in sorted({record.parent for record in records}):
            locks.enter_context(sending_lock(sweep))
        there = runs_of(place, records.values())
        mirrored = {folder: run_id for run_id, folder in there.items()}
        return [one for one in records if is_lacking(place, one, set(there), mirrored.get(str(one)), rebuild)]


def runs_of(place: Place, sweeps: Iterable[str]) -> dict[str, str]:
    """The ids of the runs that this MLflow has of these sweeps, with the folders of their records."""
    wanted = (f"tags.sweep = '{name}' and tags.record != ''" for name in sorted(set(sweeps)))
    return {run.info.run_id: run.data.tags["record"] for one in wanted for run in place.runs(one)}


def is_lacking(place: Place, record: Path, there: set[str], tagged: str | None, rebuild: bool) -> bool:
    """Whether the record is to be sent. Its run is the one that mlflow.json names, or that has its folder as a tag."""
    state = state_of(record)
    named = state.run_id if state is not None and state.run_id in there else None
    run_id = named or tagged
    if run_id is None:
        (record / STATE).unlink(missing_ok=True)
        return True
    whole = state is not None and named is not None and is_sent(record, state.uri) and not rebuild
    if state is None or (state.uri, state.run_id, state.done) != (place.uri, run_id, whole):
        State(uri=place.uri, run_id=run_id, done=whole).write(record / STATE)
    return not whole
