"""What MLflow has of a record, beside what the record says."""

import json
from pathlib import Path
from typing import Any

from psilon_bench.records.history import read_rows
from psilon_bench.tracking.experiment import Experiment
from psilon_bench.tracking.mirror import Mirror


def row(number: int) -> dict[str, float]:
    return {"epoch": 10 * number, "step": 50 * number, "val/loss": 1 / number, "path_norm": 2.0**number}


def curve(experiment: Experiment, run_id: str | None, name: str) -> list[tuple[int, float]]:
    """(step, value) of all that MLflow has of a metric, in order."""
    assert run_id is not None
    return sorted((metric.step, metric.value) for metric in experiment.client.get_metric_history(run_id, name))


def same_curves(experiment: Experiment, mirror: Mirror) -> None:
    """MLflow has each row of history.csv, and each of them once."""
    rows = read_rows(mirror.folder / "history.csv")
    assert rows
    for name in rows[0]:
        assert curve(experiment, mirror.run_id, name) == [(int(row["step"]), row[name]) for row in rows]


def state(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "mlflow.json").read_text())
