"""The parts of a record as MLflow has them: tags, parameters, metrics, the data set, files."""

import getpass
import json
import math
import os
import re
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from psilon_bench.config.addresses import redacted
from psilon_bench.records.places import MLFLOW_STATE

BATCH = 1000  # metrics in one request, MLflow's limit
LONGEST_PARAM = 6000  # characters of a parameter, MLflow's limit
TYPES = {"number": "double", "category": "string", "date": "datetime"}  # of raw columns, in MLflow's words
STATUS = {  # of a run that has ended
    "running": "KILLED",
    "finished": "FINISHED",
    "failed": "FAILED",
    "killed": "KILLED",
    "raced out": "KILLED",
}


def tags_of(run: dict[str, Any], folder: Path) -> dict[str, str]:
    """Return the tags by which people group and search runs."""
    params = run["params"]
    return (
        {
            "dataset": run["task"]["name"],
            "model": params["model.name"],
            "reg": params["reg.name"],
            "sweep": params["name"],
            "seed": str(run["seed"]),
            "fingerprint": run["fingerprint"],
            "record": str(folder),
        }
        | source_tags()
        | end_tags(run)
    )


def end_tags(run: dict[str, Any]) -> dict[str, str]:
    """Return the tag that tells a run which was raced out, KILLED in MLflow's words, from one that was stopped."""
    return {"raced_out": run["reason"]} if run["status"] == "raced out" else {}


def source_tags() -> dict[str, str]:
    """Return the tags with who made a run, and with what; MLflow's own table shows them."""
    return {"mlflow.user": user(), "mlflow.source.name": "psilon-run", "mlflow.source.type": "LOCAL"}


def user() -> str:
    """Return the user's name; in a container that has none the number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # which of them depends on Python and the system
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"


def params_of(run: dict[str, Any]) -> list[Any]:
    """Return the configuration as MLflow's parameters."""
    from mlflow.entities import Param

    return [Param(legal_name(key), redacted(str(value))[:LONGEST_PARAM]) for key, value in run["params"].items()]


def dataset_of(task: dict[str, Any], columns: Sequence[Any]) -> Any:
    """Return the task of a run.json as MLflow's data set, which its checksum tells apart, with its raw columns."""
    from mlflow.entities import Dataset

    schema = [{"name": column.name, "type": TYPES[column.role], "required": not column.optional} for column in columns]
    rows = sum(task["rows"].values())
    return Dataset(
        task["name"],
        task["checksum"][:12],
        "local",  # of MLflow's types of source the one whose schema its pages show
        json.dumps({"uri": task["source"]}),
        json.dumps({"mlflow_colspec": schema}) if columns else None,
        json.dumps({"num_rows": rows, "num_elements": rows * len(columns)}) if columns else None,
    )


def dataset_tag() -> Any:
    """Return the tag of a run's data set that says what it was for, which MLflow's pages show."""
    from mlflow.entities import InputTag

    return InputTag("mlflow.data.context", "training")


def metrics_of_rows(rows: list[dict[str, float]], at: int) -> list[Any]:
    """Return the rows of a history as MLflow's metrics; `at` is their time in milliseconds."""
    return [metric for row in rows for metric in as_metrics(row, int(row["step"]), at)]


def last_metrics(run: dict[str, Any], rows: list[dict[str, float]], at: int) -> list[Any]:
    """Return the run's final metrics, but for those that the last row of the history has already."""
    last = rows[-1] if rows else {}
    new = {key: value for key, value in run["metrics"].items() if last.get(key) != value}
    return as_metrics(new, int(last.get("step", 0)), at)


def as_metrics(values: dict[str, float], step: int, timestamp: int) -> list[Any]:
    """Return MLflow's metrics of one step without those that are not finite, which MLflow would make 1.8e308."""
    from mlflow.entities import Metric

    return [Metric(legal_name(key), value, timestamp, step) for key, value in values.items() if math.isfinite(value)]


def legal_name(name: str) -> str:
    """Return the name as MLflow takes it: without =, @ and brackets."""
    return re.sub(r"[^\w.\- :/]", "_", name)[:250]


def record_files(folder: Path) -> Iterator[tuple[Path, str | None]]:
    """Yield the files of a record, each with its folder below it, but for half-written ones and mlflow.json."""
    for path in sorted(folder.rglob("*")):
        within = path.relative_to(folder)
        if path.is_file() and path.name != MLFLOW_STATE and not any(part.startswith(".") for part in within.parts):
            yield path, None if within.parent == Path() else within.parent.as_posix()


def ends_at(run: dict[str, Any]) -> int:
    """Return one time for the final metrics, however often they are sent: MLflow drops equal metrics."""
    return milliseconds(run["times"]["ended"] if run["status"] != "running" else None)


def milliseconds(moment: str | None = None) -> int:
    """Return this moment (ISO 8601), or now, in milliseconds since the epoch, as MLflow counts."""
    return time.time_ns() // 1_000_000 if moment is None else int(datetime.fromisoformat(moment).timestamp() * 1000)
