"""Runs side by side in processes: the numbers of runs one by one; nothing lost to signals, kills, a dead parent."""

import itertools
import math
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from tiny_sweep import TINY

from psilon_bench.sweep import placement
from psilon_bench.sweep.placement import Placement
from psilon_bench.sweep.process_pool import ProcessPool
from psilon_bench.tracking.state import mirror_state

PROCESSES = ("hardware.plan=processes", "hardware.workers=2")
LONG = (*TINY, "trainer.epochs=300", "trainer.eval_every=10", "tracking=none")
GRID = ("-m", "seed=range(4)")


def history(run: dict[str, Any]) -> bytes:
    return (run["folder"] / "history.csv").read_bytes()


def same_as_one_by_one(psilon: Any, records: Any, *grid: str, tiny: tuple[str, ...]) -> None:
    """Bit for bit, each once."""
    _, text = psilon(*grid, "name=serial", "hardware.plan=serial", "tracking=none", tiny=tiny)
    expected = {run["fingerprint"]: run for run in records("serial")}
    ended = [run for run in records() if run["status"] == "finished" or run.get("diverged")]
    assert len(ended) == len(expected) == len({run["fingerprint"] for run in ended}), text
    for run in ended:
        other = expected[run["fingerprint"]]
        assert run["status"] == other["status"]
        assert run["reason"] == other["reason"]
        if run["status"] == "finished":
            assert history(run) == history(other)


@pytest.mark.slow
def test_the_same_as_one_by_one(psilon: Any, records: Any) -> None:
    """Records, divergence, a run that cannot even be set up, exit code, bars, MLflow; then skipped."""
    (Path.cwd() / "picky.py").write_text(
        "from psilon_bench.models.mlp import MLP\n"
        "class Picky(MLP):\n"
        "    def __init__(self, **everything) -> None:\n"
        "        super().__init__(**everything)\n"
        "        import torch, multiprocessing\n"
        "        if torch.initial_seed() == 2 and multiprocessing.parent_process():\n"
        "            raise ZeroDivisionError('two')\n"
    )
    grid = ("-m", "seed=0,1,2", "optimizer.lr=2e-3,1e300", "model._target_=picky.Picky")
    code, text = psilon(*grid, *PROCESSES)
    assert code == 1, text
    assert "4 of 6 runs failed" in text
    assert "sweep: 6/6 runs" in text
    assert len(re.findall(r"^failed: pnet pathnorm lam=0\.001 seed=2 .*: ZeroDivisionError: two", text, re.M)) == 2
    assert len(records()) == 4
    assert all(run["hardware"]["threads"] == 1 and run["in_sweep"] for run in records())
    assert len({run["process"]["pid"] for run in records()}) == 2
    states = [mirror_state(run["folder"]) for run in records()]
    assert all(state is not None and state.done for state in states)
    same_as_one_by_one(psilon, records, "-m", "seed=0,1", *grid[2:], tiny=TINY)
    code, text = psilon("-m", "seed=0,1", *grid[2:], *PROCESSES, "tracking=none")
    assert "4 of 4 runs are done in results/runs, nothing is left to do" in text


def both_at_work(records: Callable[..., Any], process: Any) -> list[dict[str, Any]]:
    """The two runs that train now, each with a row of its history."""
    deadline = time.monotonic() + 60
    while True:
        running = [run for run in records() if run["status"] == "running" and (run["folder"] / "history.csv").exists()]
        if len(running) == 2:
            return running
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.005)


def gone(pids: list[int]) -> bool:
    """Within some seconds."""
    return not psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=20)[1]


linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads pending signals where Linux has them")


def both_held(records: Callable[..., Any], process: Any) -> list[dict[str, Any]]:
    """The two runs that train now, their processes stopped where they are: none ends before it hears of a signal."""
    while True:
        runs = both_at_work(records, process)
        workers = [psutil.Process(run["process"]["pid"]) for run in runs]
        for worker in workers:
            worker.suspend()
        deadline = time.monotonic() + 60
        while any(worker.status() != psutil.STATUS_STOPPED for worker in workers):  # until then it still hears
            assert time.monotonic() < deadline
            time.sleep(0.005)
        still = {run["folder"] for run in records() if run["status"] == "running"}
        if {run["folder"] for run in runs} == still:
            return runs
        for worker in workers:
            worker.resume()


def go_on_when_asked(pid: int, number: int) -> None:
    """Let a process that is held go on, once this signal waits for it."""
    deadline, status = time.monotonic() + 60, Path(f"/proc/{pid}/status")

    def pending() -> int:
        found = re.search(r"ShdPnd:\s*(\w+)", status.read_text(encoding="utf-8"))
        assert found is not None
        return int(found[1], 16)

    while not pending() & 1 << (number - 1):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(pid, signal.SIGCONT)


@linux
@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 130),
        (signal.SIGTERM, 143),
        (signal.SIGKILL, -9),  # of the parent: the processes see it vanish
    ],
)
def test_stopped(start: Any, psilon: Any, records: Any, number: Any, code: Any) -> None:
    """Every process ends with a checkpoint of its run; the same command goes on, bit for bit, in the same folders."""
    process = start(*GRID, *PROCESSES, tiny=LONG)
    kept = number != signal.SIGKILL  # which only processes at work can see
    runs = both_held(records, process) if kept else both_at_work(records, process)
    pids = [run["process"]["pid"] for run in runs]
    process.send_signal(number)
    for pid in pids if kept else []:
        go_on_when_asked(pid, signal.SIGINT)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == code, text
    assert gone(pids)
    assert "Traceback" not in text
    stopped = {run["folder"] for run in records() if run["status"] == "killed"}
    assert len(stopped) == 2
    assert len(records()) == 2 or not kept  # until it is killed, a slow parent may have had runs finished
    assert len(list(Path("results/runs/.checkpoints").glob("*.pt"))) == 2
    again, text = psilon(*GRID, *PROCESSES, tiny=LONG)
    assert again == 0, text
    assert len(records()) == 4
    assert all(len(run["times"]["resumed"]) == 1 for run in records() if run["folder"] in stopped)
    same_as_one_by_one(psilon, records, *GRID, tiny=LONG)


@linux
@pytest.mark.slow
@pytest.mark.parametrize("retries", [0, 1])
def test_a_killed_process(start: Any, psilon: Any, records: Any, retries: Any) -> None:
    """Only its own run is lost, and told; or tried again where asked for. The other one goes on from its checkpoint."""
    process = start(*GRID, *PROCESSES, f"retries={retries}", "trainer.epochs=600", tiny=LONG)
    runs = both_held(records, process)
    other, victim = sorted(runs, key=lambda run: run["process"]["pid"])  # the process that was started last
    os.kill(victim["process"]["pid"], signal.SIGKILL)
    go_on_when_asked(other["process"]["pid"], signal.SIGTERM)
    text, _ = process.communicate(timeout=120)
    assert process.returncode == (0 if retries else 1), text
    finished = {run["folder"]: run for run in records() if run["status"] == "finished"}
    assert len(finished) == 3 + retries
    assert len(finished[other["folder"]]["times"]["resumed"]) == 1
    assert victim["folder"] not in finished
    if not retries:
        assert "its process ended before it" in text
        assert "1 of 4 runs failed" in text
        return
    same_as_one_by_one(psilon, records, *GRID, "trainer.epochs=600", tiny=LONG)


@pytest.mark.slow
def test_processes_that_end_as_they_start(psilon: Any, records: Any) -> None:
    """One line, at once: others would end as well."""
    Path("sitecustomize.py").write_text(
        "import os, sys\nif 'spawn_main' in str(sys.orig_argv): os._exit(3)\n", encoding="utf-8"
    )
    code, text = psilon(*GRID, *PROCESSES, "tracking=none")
    assert code == 1, text
    said = (
        "psilon-run: the processes ended before they began. 4 of 4 runs are left; the same command goes on with them.\n"
    )
    assert text.endswith(said)
    assert records() == []


@pytest.mark.slow
def test_a_plan_names_the_processes(psilon: Any, records: Any) -> None:
    """Nothing is started but a trial; the estimate counts batches as they will be."""
    code, text = psilon(*GRID, *PROCESSES, "plan=true", "trainer.epochs=50", "trainer.batch_size=100")
    assert code == 0, text
    (cells,) = (line.split("│")[2:6] for line in text.splitlines() if " on breast_cancer" in line)
    runs, how, step_ms, seconds = (cell.strip() for cell in cells)
    assert (runs, how) == ("4", "in 2 processes")
    # 341 training rows make four batches of at most 100
    assert float(seconds.removesuffix(" s")) == pytest.approx(4 * 50 * 4 * float(step_ms) / 1000, abs=0.6)
    assert records() == []


class Timed(ProcessPool):
    """Processes that were timed already."""

    trial_ms = math.nan

    def trial(self, config: Any) -> Any:
        assert not math.isnan(self.trial_ms), "they need not have been started"
        return self.trial_ms


@pytest.mark.parametrize(
    ("runs", "here", "alone", "apart", "way"),
    [
        (8, 6.0, 9.0, 5.0, "in 2 processes"),  # 8 x 5000 steps: 240 s here, 200 s in processes
        (8, 6.0, 9.0, 5.9, "one by one"),  # they slow each other: 4 s are not worth it
        (8, 6.0, 12.1, math.nan, "one by one"),  # no need to start them
        (1, 6.0, 9.0, math.nan, "one by one"),
        (2, 6.0, 9.0, 5.1, "one by one"),  # 9 s
        (3, 6.0, 11.0, math.nan, "one by one"),  # 90 s, 85 s with the third run here
        (9, 6.0, 9.0, 5.5, "in 2 processes"),  # 270 s, 250 s with the ninth run here
    ],
)
def test_auto_takes_what_saves_time(
    config: Any, monkeypatch: pytest.MonkeyPatch, runs: Any, here: Any, alone: Any, apart: Any, way: Any
) -> None:
    """Milliseconds of a step per network here, of one that uses one thread, and of two processes at work."""
    configs = [config("hardware.plan=auto", "trainer.epochs=1000", f"seed={seed}") for seed in range(runs)]
    monkeypatch.setattr(placement, "place_here", lambda group: Placement(1, here))
    monkeypatch.setattr(placement, "step_ms", lambda configs: alone)
    processes = Timed(configs[0].hardware.model_copy(update={"threads": 2}), runs)
    processes.trial_ms = apart
    (choice,) = placement.place_groups([configs], processes)
    assert str(choice) == way
    singly = placement.place_groups([[one] for one in configs], processes)  # one decision for all groups together
    assert {str(choice) for choice in singly} == {way}
    for groups, choices in (([configs], [choice]), ([[one] for one in configs], singly)):
        parts = [choice.divide(group) for group, choice in zip(groups, choices, strict=True)]
        here, apart = (list(itertools.chain.from_iterable(part)) for part in zip(*parts, strict=True))
        assert apart + here == configs
        assert len(apart) == (runs - runs % 2 if "processes" in way else 0)  # whole rounds
