"""Where the records below a folder are."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from psilon_bench.records import run_json

MLFLOW_RUN = re.compile(r"[0-9a-f]{32}")


def run_files(folder: Path) -> Iterator[Path]:
    """Every run.json of a record below a folder, in the order of their paths.

    Nothing lies below a record; MLflow's copy of one, in <run id>/artifacts, is none.
    """
    for parent, below, files in os.walk(folder):
        if "run.json" in files:
            below.clear()
            yield Path(parent, "run.json")
        of_mlflow = MLFLOW_RUN.fullmatch(Path(parent).name) is not None
        below[:] = sorted(name for name in below if not (name.startswith(".") or (of_mlflow and name == "artifacts")))


def read_run(record: Path) -> dict[str, Any] | None:
    """run.json, with what it may leave out; None where it cannot be read, or is none of a record."""
    try:
        return run_json.read(record / "run.json").model_dump()
    except run_json.Unreadable:
        return None
