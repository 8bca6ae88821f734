"""Processes that are killed, and processes that meet: nothing lost, nothing twice, nothing damaged."""

import json
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from killed_often import killed_often

from psilon_bench.machine.mlflow_environment import set_up_mlflow
from psilon_bench.records.history import read_rows

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")  # in MLflow itself
NET = "model.hidden=4", "model.depth=2", "hardware.threads=1", "hardware.device=cpu"
SWEEP = ("-m", "reg.lam=1e-3,1e-2,1e-1", "seed=range(4)", "tracking=none")
SLOWER = (*NET, "trainer.epochs=60", "trainer.eval_every=10", "trainer.checkpoint_every=7", "hardware.plan=stacked")


def whole(run: dict[str, Any]) -> None:
    """A finished record that has everything."""
    assert [row["epoch"] for row in read_rows(run["folder"] / "history.csv")] == [10, 20, 30, 40, 50, 60]
    assert run["metrics"]["val/loss"] > 0
    torch.load(run["folder"] / "model.pt", weights_only=True)
    assert (run["folder"] / "config.yaml").read_text().endswith("\n")


def ends_whole(psilon: Any, records: Any, sweep: tuple[str, ...], name: str = "runs") -> None:
    """The same command ends it: every run finished once, whole, with the numbers of a sweep that never stopped."""
    code, text = psilon(*sweep, f"name={name}", tiny=SLOWER)
    assert code == 0, text
    finished = [run for run in records(name) if run["status"] == "finished"]
    assert len(finished) == len({run["fingerprint"] for run in finished}) == 12
    for run in finished:
        whole(run)
    code, text = psilon(*sweep, "name=once", tiny=SLOWER)
    assert code == 0, text
    once = {run["fingerprint"]: run for run in records("once")}
    for run in finished:
        rows, expected = (read_rows(one["folder"] / "history.csv") for one in (run, once[run["fingerprint"]]))
        for left, right in zip(rows, expected, strict=True):
            assert left == pytest.approx(right, rel=1e-3, abs=1e-6)  # stacks may have been cut differently


@pytest.mark.slow
def test_killed_in_three_phases(start: Any, psilon: Any, records: Any, tmp_path: Path) -> None:
    """While it trains its first stack, while it closes records, and on the way to the rest."""
    sweep = (*SWEEP, "hardware.stack_size=4")
    phases: list[Callable[[], object]] = [
        lambda: list(tmp_path.glob("results/runs/.checkpoints/*.json")),
        lambda: any(run["status"] == "finished" for run in records()),
        lambda: sum(run["status"] == "finished" for run in records()) > 4,
    ]
    for phase in phases:
        process = start(*sweep, tiny=SLOWER)
        while not phase():
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    ends_whole(psilon, records, sweep)


def damage_one(folder: Path, draw: random.Random) -> None:
    """Cut, empty or overwrite one of the files there, if there are any."""
    files = sorted(path for path in folder.glob("*") if path.suffix in (".json", ".pt"))
    if files:
        path = draw.choice(files)
        content = path.read_bytes()
        path.write_bytes(draw.choice([content[: len(content) // 2], b"", b"[]", bytes(len(content))]))


@pytest.mark.slow
def test_killed_at_twenty_random_moments(start: Any, psilon: Any, records: Any, tmp_path: Path) -> None:
    """Anywhere from the first import to the last record; where a sweep ends before its time, another one begins.

    After every other kill a file of the checkpoints is cut, emptied or overwritten.
    """
    sweep = (*SWEEP, "hardware.stack_size=4")
    started = time.monotonic()
    assert psilon(*sweep, "name=timed", tiny=SLOWER)[0] == 0
    seconds = time.monotonic() - started
    draw = random.Random(0)

    def look(kills: int, name: str) -> None:
        records(name)  # every run.json can be read at any time
        if kills % 2:
            damage_one(tmp_path / f"results/{name}/.checkpoints", draw)

    for name in killed_often(start, sweep, SLOWER, (0.2 * seconds, seconds), draw, look):
        ends_whole(psilon, records, sweep, name)


@pytest.mark.parametrize(
    "grid", [pytest.param(("seed=3",), marks=pytest.mark.slow, id="lone"), pytest.param(("-m", "seed=0,1"), id="stack")]
)
def test_sigkill_resumes_bit_for_bit(start: Any, psilon: Any, records: Any, grid: Any) -> None:
    """From the last checkpoint on, the history is that of a run which never stopped, in the same folder."""
    settings = (*NET, "trainer.epochs=80", "trainer.eval_every=3", "hardware.plan=stacked", "tracking=none")
    every = "trainer.checkpoint_every=10"
    process = start(*grid, every, tiny=settings)
    deadline = time.monotonic() + 60
    # rows beyond the checkpoint, which are to be cut off
    while not any(row["epoch"] >= 12 for run in records() for row in read_rows(run["folder"] / "history.csv")):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = {run["folder"] for run in records()}
    assert {run["status"] for run in records()} == {"running"}
    code, text = psilon(*grid, every, tiny=settings)
    assert code == 0, text
    assert {run["folder"] for run in records()} == before
    code, text = psilon(*grid, "name=once", tiny=settings)
    assert code == 0, text
    once = {run["fingerprint"]: run["folder"] for run in records("once")}
    for run in records():
        assert run["status"] == "finished"
        assert len(run["times"]["resumed"]) == 1
        own, other = run["folder"], once[run["fingerprint"]]
        assert (own / "history.csv").read_bytes() == (other / "history.csv").read_bytes()
        left, right = torch.load(own / "model.pt"), torch.load(other / "model.pt")
        assert all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.slow
@pytest.mark.parametrize("plans", [pytest.param(("serial", "serial"), marks=pytest.mark.slow), ("serial", "stacked")])
def test_two_at_once(start: Any, records: Any, plans: Any) -> None:
    """The same sweep started twice: both end well, and each run is trained once, however each cuts its stacks.

    Where both train one by one, both train some of them.
    """
    grid = ("-m", "seed=range(4)", "tracking=none", "trainer.epochs=60")
    both = [start(*grid, f"hardware.plan={plan}") for plan in plans]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    runs = records()
    assert [run["status"] for run in runs] == ["finished"] * 4
    assert len({run["fingerprint"] for run in runs}) == 4
    if plans == ("serial", "serial"):
        assert len({run["process"]["pid"] for run in runs}) == 2


@pytest.mark.slow
def test_eight_processes_on_a_fresh_database(start: Any, records: Any, tmp_path: Path) -> None:
    """No error, every run in MLflow, one experiment, one parent."""
    processes = [start("-m", f"seed={2 * one},{2 * one + 1}") for one in range(8)]
    said = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 8, said
    assert not any("psilon-run:" in text for text in said), said
    assert len(records()) == 16
    set_up_mlflow(8)
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path}/results/mlflow.db")
    found = client.search_runs([one.experiment_id for one in client.search_experiments()], max_results=1000)
    members = [run for run in found if "record" in run.data.tags]
    assert {run.data.tags["record"] for run in members} == {str(run["folder"]) for run in records()}
    assert len(members) == 16
    assert len(found) == 17
    assert all(json.loads((run["folder"] / "mlflow.json").read_text())["done"] for run in records())
