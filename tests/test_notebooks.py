"""Each notebook of the examples runs from an empty folder, and is committed without what it printed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs" / "notebooks").glob("*.ipynb"))


def cells(notebook: Path) -> list[dict[str, object]]:
    """The cells of a notebook."""
    found: list[dict[str, object]] = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return found


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_nothing_printed_is_committed(notebook: Path) -> None:
    """Sphinx runs the cells and shows what they give; a file with old numbers in it would be believed."""
    code = [cell for cell in cells(notebook) if cell["cell_type"] == "code"]
    assert len(code) >= 3
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_it_runs(notebook: Path, tmp_path: Path) -> None:
    """As a program, one cell after the other; what a cell asserts holds."""
    sources = ["".join(cell["source"]) for cell in cells(notebook) if cell["cell_type"] == "code"]  # type: ignore[arg-type]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-c", "\n".join(sources)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
