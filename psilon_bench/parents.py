"""The run of a sweep in MLflow: how its runs ended, and the best of them by validation."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psilon_bench.tracking import BATCH, PARENT, as_metrics, milliseconds, read_run

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHOSEN_BY = "val/loss"


def update_parents(client: "MlflowClient", uri: str, sweeps: Iterable[Path]) -> None:
    """Bring the runs of these sweep folders up to date, those that MLflow at `uri` knows."""
    for sweep in sorted(set(sweeps)):
        run_id = parent_at(sweep, uri)
        found = (read_run(path.parent) for path in sweep.glob("*/run.json"))
        runs = [run for run in found if run is not None and run["in_sweep"]]
        if run_id is not None and runs:
            ended = max(milliseconds(run["times"]["ended"] or run["times"]["started"]) for run in runs)
            log(client, run_id, outcome(runs), ended)
            client.set_terminated(run_id, "FINISHED", end_time=ended)


def parent_at(sweep: Path, uri: str) -> str | None:
    """The id of the sweep's run at `uri`."""
    known = json.loads((sweep / PARENT).read_text()) if (sweep / PARENT).exists() else {}
    return known["run_id"] if known.get("uri") == uri else None


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
    """Metrics of step 0, under names that MLflow takes: no = and no brackets."""
    every = as_metrics({re.sub(r"[^\w.\- :/]", "_", name)[:250]: value for name, value in values.items()}, 0, at)
    for start in range(0, len(every), BATCH):
        client.log_batch(run_id, metrics=every[start : start + BATCH])
