"""A run that is stopped by a signal, and first runs side by side: what MLflow and the records say."""

import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from programs import ENVIRONMENT, end, records, run_json, start

from psilon_bench.records.history import read_rows

MLFLOW = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")  # in MLflow itself
LONG = ("trainer.epochs=1000000", "scheduler=constant", "trainer.eval_every=1", "model.hidden=6", "model.depth=1")


@pytest.mark.slow
@MLFLOW
@pytest.mark.parametrize(
    ("number", "code", "more"),
    [(signal.SIGINT, 130, ()), pytest.param(signal.SIGTERM, 143, ("tracking=none",), marks=pytest.mark.slow)],
    ids=["INT", "TERM"],
)
def test_a_signal_ends_the_run_as_killed(forking: Any, tmp_path: Path, number: Any, code: Any, more: Any) -> None:
    """The record says killed and has the history so far; the exit code is the signal's; one line, no traceback."""
    process = forking.start([*LONG, *more], tmp_path, ENVIRONMENT)
    wait_for_rows(tmp_path, process, 5)
    process.send_signal(number)
    said = end(process)
    assert said.code == code, said.err
    assert said.err.count("\n") == 1
    assert said.err.startswith("psilon-run: stopped")
    (folder,) = records(tmp_path)
    run = run_json(folder)
    assert run["status"] == "killed"
    assert run["times"]["ended"] is not None
    rows = read_rows(folder / "history.csv")
    assert len(rows) >= 5
    assert [row["epoch"] for row in rows] == list(range(1, len(rows) + 1))
    if not more:
        (mirrored,) = mlflow_runs(tmp_path / "results")
        assert mirrored.info.status == "KILLED"
        assert mirrored.data.metrics["epoch"] == len(rows)


def wait_for_rows(folder: Path, process: Any, count: int) -> None:
    """Until the run's history has so many."""
    deadline = time.monotonic() + 180
    while not any(len(read_rows(path / "history.csv")) >= count for path in records(folder)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def mlflow_runs(results: Path) -> Sequence[Any]:
    from psilon_bench.tracking.experiment import connect

    place = connect(f"sqlite:///{results / 'mlflow.db'}", "psilon_bench", str(results))
    return place.client.search_runs([place.experiment_id])


@MLFLOW
@pytest.mark.slow
def test_four_first_runs_at_once(tmp_path: Path) -> None:
    """On a results_dir that does not exist yet: all succeed, each with its own record and its own run in MLflow."""
    run = ("trainer.epochs=2", "trainer.eval_every=1", "model.hidden=8")
    processes = [start(*run, f"seed={seed}", folder=tmp_path) for seed in range(4)]
    for process in processes:
        said = end(process)
        assert (said.code, said.err) == (0, "")
    folders = records(tmp_path)
    assert [run_json(folder)["status"] for folder in folders] == ["finished"] * 4
    mirrored = mlflow_runs(tmp_path / "results")
    assert {one.data.tags["record"] for one in mirrored} == {str(folder) for folder in folders}
    assert {one.info.status for one in mirrored} == {"FINISHED"}
    assert len(mirrored) == 4
    assert all(one.data.metrics["epoch"] == 2 for one in mirrored)
