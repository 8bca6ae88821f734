"""The tracking server goes away in the middle of a sweep: no run fails, and no number is missing in the end."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow_server import Server, wait_for

from psilon_bench.machine.mlflow_environment import set_up_mlflow
from psilon_bench.records.history import read_rows
from psilon_bench.tracking.state import mirror_state

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")  # in MLflow itself
LONG = (
    "model.hidden=4",
    "trainer.epochs=400",
    "trainer.eval_every=50",
    "hardware.threads=1",
    "hardware.device=cpu",
    "hardware.plan=serial",
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    one = Server(tmp_path)
    one.start()
    yield one
    one.stop()


def all_there(uri: str, runs: list[dict[str, Any]], folder: Path) -> None:
    """MLflow has each record once, each row of each history once, the final metrics, and nothing else."""
    set_up_mlflow(8)
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiments = [one.experiment_id for one in client.search_experiments()]
    found = client.search_runs(experiments, max_results=1000)
    members = {one.data.tags["record"]: one for one in found if "record" in one.data.tags}
    assert len(members) == len(runs) == len([one for one in found if "record" in one.data.tags])
    (parent,) = (one.info.run_id for one in found if "record" not in one.data.tags)
    for run in runs:
        own = members[str(run["folder"])]
        assert own.info.status == "FINISHED"
        assert own.data.tags["mlflow.parentRunId"] == parent
        rows = read_rows(run["folder"] / "history.csv")
        for name in rows[0]:
            history = sorted((one.step, one.value) for one in client.get_metric_history(own.info.run_id, name))
            assert history == [(int(row["step"]), row[name]) for row in rows], name
        assert own.data.metrics == pytest.approx(run["metrics"], rel=1e-12)
        assert {"model.pt", "run.json"} <= {file.path for file in client.list_artifacts(own.info.run_id)}
        state = mirror_state(run["folder"])
        assert state is not None
        assert state.done


@pytest.mark.slow
def test_stopped_in_the_middle_and_started_again(server: Any, start: Any, records: Any, tmp_path: Path) -> None:
    """The sweep does not wait for it, and what was missed is sent when it is back."""
    process = start("-m", "seed=range(24)", f"tracking.uri={server.uri}", tiny=LONG)
    wait_for(lambda: len(records()) >= 2, 60)
    server.stop()
    at_stop = len(records())
    wait_for(lambda: len(records()) >= at_stop + 2 or process.poll() is not None, 60)
    assert len([run for run in records() if run["status"] == "finished"]) >= at_stop
    server.start()
    assert process.poll() is None, "the sweep is too short for this test"
    text, _ = process.communicate(timeout=400)
    assert process.returncode == 0, text
    runs = records()
    assert [run["status"] for run in runs] == ["finished"] * 24
    all_there(server.uri, runs, tmp_path)


@pytest.mark.slow
def test_it_stays_away_and_psilon_sync_comes_later(
    server: Any, start: Any, records: Any, tmp_path: Path, environment: Any
) -> None:
    """The sweep ends well and says what to do; psilon-sync says that it cannot, later that it has; then nothing."""
    process = start("-m", "seed=range(4)", f"tracking.uri={server.uri}", tiny=LONG)
    wait_for(lambda: len(records()) >= 2, 60)
    server.stop()
    text, _ = process.communicate(timeout=400)
    assert process.returncode == 0, text
    assert "psilon-sync sends them later" in text

    def psilon_sync(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-c", "from psilon_bench.cli.sync import main; main()", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    code, said = psilon_sync()
    assert code == 1
    assert "does not answer" in said
    server.start()
    code, said = psilon_sync("results")
    assert code == 0, said
    assert f"records sent to {server.uri}" in said
    all_there(server.uri, records(), tmp_path)
    assert psilon_sync() == (0, "MLflow has all records of results.\n")
    code, said = psilon_sync("nowhere")
    assert (code, said) == (2, "psilon-sync: nowhere is not a folder. Call psilon-sync <results_dir>.\n")
