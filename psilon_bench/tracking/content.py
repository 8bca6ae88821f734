"""What MLflow shows of a record: tags, parameters, metrics, the data set, files."""

import getpass
import json
import math
import os
import re
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from psilon_bench.config.addresses import redacted
from psilon_bench.tracking.state import STATE

BATCH = 1000  # metrics in one request, MLflow's limit
LONGEST = 6000  # characters of a parameter, MLflow's limit
STATUS = {"running": "KILLED", "finished": "FINISHED", "failed": "FAILED", "killed": "KILLED"}  # once it has ended


def tags_of(run: dict[str, Any], folder: Path) -> dict[str, str]:
    """What people group and search by."""
    params = run["params"]
    return {
        "dataset": run["task"]["name"],
        "model": params["model.name"],
        "reg": params["reg.name"],
        "sweep": params["name"],
        "seed": str(run["seed"]),
        "fingerprint": run["fingerprint"],
        "record": str(folder),
    } | source_tags()


def source_tags() -> dict[str, str]:
    """Who made a run, and with what, where MLflow's own table shows it."""
    return {"mlflow.user": user(), "mlflow.source.name": "psilon-run", "mlflow.source.type": "LOCAL"}


def user() -> str:
    """The user's name; in a container that has none the number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # which of them depends on Python and the system
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"


def params_of(run: dict[str, Any]) -> list[Any]:
    """The configuration, as MLflow's parameters."""
    from mlflow.entities import Param

    return [Param(legal(key), redacted(str(value))[:LONGEST]) for key, value in run["params"].items()]


def dataset_input(task: dict[str, Any]) -> Any:
    """The task of a run.json, for MLflow's column of data sets; told apart by its checksum."""
    from mlflow.entities import Dataset, DatasetInput

    source = json.dumps({"source": task["source"]})
    return DatasetInput(Dataset(task["name"], task["checksum"][:12], "psilon_bench", source), [])


def metrics_of_rows(rows: list[dict[str, float]], at: int) -> list[Any]:
    """The rows of a history."""
    return [metric for row in rows for metric in as_metrics(row, int(row["step"]), at)]


def last_metrics(run: dict[str, Any], rows: list[dict[str, float]], at: int) -> list[Any]:
    """The run's own metrics, but for those that the last row has already."""
    last = rows[-1] if rows else {}
    new = {key: value for key, value in run["metrics"].items() if last.get(key) != value}
    return as_metrics(new, int(last.get("step", 0)), at)


def as_metrics(values: dict[str, float], step: int, timestamp: int) -> list[Any]:
    """MLflow metrics of one step; what is not finite stays in the record alone (MLflow would make it 1.8e308)."""
    from mlflow.entities import Metric

    return [Metric(legal(key), value, timestamp, step) for key, value in values.items() if math.isfinite(value)]


def legal(name: str) -> str:
    """The name as MLflow takes it: no =, no @, no brackets."""
    return re.sub(r"[^\w.\- :/]", "_", name)[:250]


def files_of(folder: Path) -> Iterator[tuple[Path, str | None]]:
    """The files of a record, with the folder below it; not what is half written, nor what tells of MLflow."""
    for path in sorted(folder.rglob("*")):
        within = path.relative_to(folder)
        if path.is_file() and path.name != STATE and not any(part.startswith(".") for part in within.parts):
            yield path, None if within.parent == Path() else within.parent.as_posix()


def ends_at(run: dict[str, Any]) -> int:
    """One time for the run's last words, whenever and how often they are sent: MLflow drops equal metrics."""
    return milliseconds(run["times"]["ended"] if run["status"] != "running" else None)


def milliseconds(moment: str | None = None) -> int:
    """Since the epoch, as MLflow counts, of this ISO 8601 moment or of now."""
    return time.time_ns() // 1_000_000 if moment is None else int(datetime.fromisoformat(moment).timestamp() * 1000)
