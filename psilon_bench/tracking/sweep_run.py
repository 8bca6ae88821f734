"""The run of a sweep in MLflow: the parent of its runs, with how they ended and the best of them by validation."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psilon_bench.records.places import mlflow_parent, records_in
from psilon_bench.records.run_json import read_run
from psilon_bench.tracking.content import BATCH, as_metrics, milliseconds, source_tags, tags_of
from psilon_bench.tracking.experiment import Experiment
from psilon_bench.tracking.state import ParentRun, sending_lock
from psilon_bench.tracking.views import note, varied_settings, view_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHOSEN_BY = "val/loss"


def parent_of(experiment: Experiment, sweep: Path, name: str, began: int) -> str:
    """Return the id of the run that stands for this folder, made for its first record. Only under the sending lock."""
    if sweep not in experiment.parents:
        known = ParentRun.read(mlflow_parent(sweep))
        usable = known is not None and experiment.has(known.run_id)
        run_id = known.run_id if known is not None and usable else find_or_create(experiment, sweep, name, began)
        ParentRun(uri=experiment.uri, run_id=run_id).write(mlflow_parent(sweep))
        experiment.parents[sweep] = run_id
    return experiment.parents[sweep]


def tags_with_parent(experiment: Experiment, run: dict[str, Any], folder: Path) -> dict[str, str]:
    """Return the tags of a run, with that of its sweep as its parent where it has one. Only under the sending lock."""
    tags = tags_of(run, folder)
    if run["in_sweep"]:
        began = milliseconds(run["times"]["started"])
        tags["mlflow.parentRunId"] = parent_of(experiment, folder.parent, tags["sweep"], began)
    return tags


def find_or_create(experiment: Experiment, sweep: Path, name: str, began: int) -> str:
    """Return the id of the sweep's run: one that a killed process made but did not write down, or a new one."""
    candidates = (run for run in experiment.runs(f"tags.sweep = '{name}' and tags.parent_of != ''"))
    found = next((run.info.run_id for run in candidates if run.data.tags["parent_of"] == str(sweep)), None)
    if found is not None:
        return found
    tags = {"sweep": name, "parent_of": str(sweep)} | source_tags()
    created = experiment.client.create_run(experiment.experiment_id, began, tags, f"sweep {name}").info.run_id
    experiment.client.set_terminated(created)
    return created


def update_parents(experiment: Experiment, sweeps: Iterable[Path]) -> None:
    """Bring the runs of these sweep folders up to date."""
    for sweep in sorted(set(sweeps)):
        found = map(read_run, records_in(sweep))
        runs = [run for run in found if run is not None and run["in_sweep"]]
        if not runs:
            continue
        began = min(milliseconds(run["times"]["started"]) for run in runs)
        ended = max(milliseconds(run["times"]["ended"] or run["times"]["started"]) for run in runs)
        with sending_lock(sweep):
            run_id = parent_of(experiment, sweep, runs[0]["params"]["name"], began)
        log_metrics(experiment.client, run_id, sweep_metrics(runs), ended)
        show_views(experiment, run_id, runs, ended)
        experiment.client.set_terminated(run_id, "FINISHED", end_time=ended)


def show_views(experiment: Experiment, run_id: str, runs: Sequence[dict[str, Any]], at: int) -> None:
    """Save the views of a sweep in the experiment, and say in its run's description which command made it."""
    name = runs[0]["params"]["name"]
    for key, value in view_tags(name, varied_settings([run["params"] for run in runs]), at).items():
        experiment.client.set_experiment_tag(experiment.experiment_id, key, value)
    last = max(runs, key=lambda run: run["times"]["started"])
    experiment.client.set_tag(run_id, "mlflow.note.content", note(last["command"], experiment.experiment_id, name))


def sweep_metrics(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Return runs/finished, runs/failed, ..., and best/val/loss of each data set, the lowest that a run ended with.

    Test metrics are left out: they belong to a choice over seeds, which psilon-report makes.
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


def log_metrics(client: "MlflowClient", run_id: str, values: dict[str, float], at: int) -> None:
    """Log metrics of step 0, at a time in milliseconds since the epoch."""
    metrics = as_metrics(values, 0, at)
    for start in range(0, len(metrics), BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + BATCH])
