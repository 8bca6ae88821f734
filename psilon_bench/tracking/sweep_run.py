"""The run of a sweep in MLflow: the parent of its runs, how they ended, and the best of them by validation."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psilon_bench.records.run_files import read_run
from psilon_bench.tracking.content import BATCH, as_metrics, milliseconds, source_tags
from psilon_bench.tracking.place import Place
from psilon_bench.tracking.state import PARENT, Parent, sending_lock

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHOSEN_BY = "val/loss"


def parent_of(place: Place, sweep: Path, name: str, began: int) -> str:
    """The id of the run that stands for this folder; the first record of a sweep creates it. Under the sending lock."""
    if sweep not in place.parents:
        known = Parent.read(sweep / PARENT)
        there = known is not None and place.has(known.run_id)
        run_id = known.run_id if known is not None and there else found_or_created(place, sweep, name, began)
        Parent(uri=place.uri, run_id=run_id).write(sweep / PARENT)
        place.parents[sweep] = run_id
    return place.parents[sweep]


def found_or_created(place: Place, sweep: Path, name: str, began: int) -> str:
    """The id of the sweep's run: one by a process that did not live to write it down, or a new one."""
    own = (run for run in place.runs(f"tags.sweep = '{name}' and tags.parent_of != ''"))
    found = next((run.info.run_id for run in own if run.data.tags["parent_of"] == str(sweep)), None)
    if found is not None:
        return found
    tags = {"sweep": name, "parent_of": str(sweep)} | source_tags()
    made = place.client.create_run(place.experiment_id, began, tags, f"sweep {name}").info.run_id
    place.client.set_terminated(made)
    return made


def update_parents(place: Place, sweeps: Iterable[Path]) -> None:
    """Bring the runs of these sweep folders up to date."""
    for sweep in sorted(set(sweeps)):
        found = (read_run(path.parent) for path in sweep.glob("*/run.json"))
        runs = [run for run in found if run is not None and run["in_sweep"]]
        if not runs:
            continue
        began = min(milliseconds(run["times"]["started"]) for run in runs)
        ended = max(milliseconds(run["times"]["ended"] or run["times"]["started"]) for run in runs)
        with sending_lock(sweep):
            run_id = parent_of(place, sweep, runs[0]["params"]["name"], began)
        log(place.client, run_id, outcome(runs), ended)
        place.client.set_terminated(run_id, "FINISHED", end_time=ended)


def outcome(runs: list[dict[str, Any]]) -> dict[str, float]:
    """runs/finished, runs/failed, ...; best/val/loss of each data set, the lowest that a run ended with.

    Nothing of the test rows: what they say belongs to a choice over seeds, which psilon-report makes.
    """
    counts = {f"runs/{status}": float(count) for status, count in Counter(run["status"] for run in runs).items()}
    names = {run["task"]["name"] for run in runs}
    best: dict[str, float] = {}
    for run in runs:
        key = f"best/{CHOSEN_BY}" + (f"/{run['task']['name']}" if len(names) > 1 else "")
        loss = run["metrics"].get(CHOSEN_BY)
        if run["status"] == "finished" and loss is not None:
            best[key] = min(loss, best.get(key, loss))
    return counts | best


def log(client: "MlflowClient", run_id: str, values: dict[str, float], at: int) -> None:
    """Metrics of step 0."""
    every = as_metrics(values, 0, at)
    for start in range(0, len(every), BATCH):
        client.log_batch(run_id, metrics=every[start : start + BATCH])
