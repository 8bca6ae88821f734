"""Runs and stacks side by side in processes: the numbers of this one; nothing lost to signals, kills, a dead parent."""

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

from psilon_bench.tracking.state import mirror_state

PROCESSES = ("hardware.plan=processes", "hardware.workers=2")
LONG = (*TINY, "trainer.epochs=300", "trainer.eval_every=10", "tracking=none")
GRID = ("-m", "seed=range(4)")
STACKS = ("-m", "seed=range(8)", "hardware.stack_size=2")


def history(run: dict[str, Any]) -> bytes:
    return (run["folder"] / "history.csv").read_bytes()


def same_as_one_by_one(psilon: Any, records: Any, *grid: str, tiny: tuple[str, ...]) -> None:
    """Bit for bit, each once; stacks as one after the other."""
    plan = "stacked" if "hardware.stack_size=2" in grid else "serial"
    there = "name=serial", f"hardware.plan={plan}", "hardware.threads=1", "tracking=none"
    _, text = psilon(*grid, *there, tiny=tiny)
    expected = {run["fingerprint"]: run for run in records("serial")}
    ended = [run for run in records() if run["status"] == "finished" or run.get("diverged")]
    assert len(ended) == len(expected) == len({run["fingerprint"] for run in ended}), text
    for run in ended:
        other = expected[run["fingerprint"]]
        assert run["status"] == other["status"]
        assert run["reason"] == other["reason"]
        if run["status"] == "finished":
            assert history(run) == history(other)


def write_picky(statement: str) -> None:
    """A network that does this at seed 2 in another process than that of the sweep."""
    Path("picky.py").write_text(
        "from psilon_bench.models.mlp import MLP\n"
        "class Picky(MLP):\n"
        "    def __init__(self, **everything) -> None:\n"
        "        super().__init__(**everything)\n"
        "        import os, torch, multiprocessing\n"
        "        if torch.initial_seed() == 2 and multiprocessing.parent_process():\n"
        f"            {statement}\n",
        encoding="utf-8",
    )


@pytest.mark.slow
def test_the_same_as_one_by_one(psilon: Any, records: Any) -> None:
    """Records, divergence, a run that cannot even be set up, exit code, bars, MLflow; then skipped."""
    write_picky("raise ZeroDivisionError('two')")
    grid = ("-m", "seed=0,1,2", "optimizer.lr=2e-3,1e300", "model._target_=picky.Picky")
    long = (*TINY, "trainer.epochs=1000", "trainer.eval_every=100")  # than a process takes to start
    code, text = psilon(*grid, *PROCESSES, tiny=long)
    assert code == 1, text
    assert "4 of 6 runs failed" in text
    assert "sweep: 6/6 runs" in text
    assert len(re.findall(r"^failed: pnet pathnorm lam=0\.001 seed=2 .*: ZeroDivisionError: two", text, re.M)) == 2
    assert len(records()) == 4
    assert all(run["hardware"]["threads"] == 1 and run["in_sweep"] for run in records())
    assert len({run["process"]["pid"] for run in records()}) == 2
    states = [mirror_state(run["folder"]) for run in records()]
    assert all(state is not None and state.done for state in states)
    same_as_one_by_one(psilon, records, "-m", "seed=0,1", *grid[2:], tiny=long)
    code, text = psilon("-m", "seed=0,1", *grid[2:], *PROCESSES, "tracking=none", tiny=long)
    assert "4 of 4 runs are done in results/runs, nothing is left to do" in text


@pytest.mark.slow
def test_stacks_tell_how_far_they_are(psilon: Any, records: Any) -> None:
    """By the epochs of those that are still at work; they end as stacks in this process."""
    grid = ("-m", "seed=0,1", "trainer.epochs=1000,2000", "hardware.stack_size=2")
    code, text = psilon(*grid, *PROCESSES, tiny=LONG)
    assert code == 0, text
    (share,) = re.findall(r"^sweep: 2/4 runs, (\d+) % of the epochs  ETA \d+ s$", text, re.M)
    assert 50 < int(share) < 100
    assert len({run["process"]["pid"] for run in records()}) == 2
    same_as_one_by_one(psilon, records, *grid, tiny=LONG)


def both_at_work(records: Callable[..., Any], process: Any, number: int = 2) -> list[dict[str, Any]]:
    """The runs, so many, that train now in two processes, each with a row of its history."""
    deadline = time.monotonic() + 60
    while True:
        running = [run for run in records() if run["status"] == "running" and (run["folder"] / "history.csv").exists()]
        if len(running) == number:
            return running
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.005)


def gone(pids: list[int]) -> bool:
    """Within some seconds."""
    return not psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=20)[1]


linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads pending signals where Linux has them")


def both_held(records: Callable[..., Any], process: Any, number: int = 2) -> list[dict[str, Any]]:
    """The runs, so many, that train now, their processes stopped: none ends before it hears of a signal."""
    while True:
        runs = both_at_work(records, process, number)
        workers = [psutil.Process(pid) for pid in {run["process"]["pid"] for run in runs}]
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
    ("number", "code", "grid"),
    [
        (signal.SIGINT, 130, GRID),
        (signal.SIGTERM, 143, GRID),
        (signal.SIGTERM, 143, STACKS),
        (signal.SIGKILL, -9, GRID),  # of the parent: the processes see it vanish
    ],
)
def test_stopped(start: Any, psilon: Any, records: Any, number: Any, code: Any, grid: Any) -> None:
    """Every process ends with a checkpoint of its runs; the same command goes on, bit for bit, in the same folders."""
    process = start(*grid, *PROCESSES, tiny=LONG)
    size = 2 if grid is STACKS else 1
    kept = number != signal.SIGKILL  # which only processes at work can see
    runs = both_held(records, process, 2 * size) if kept else both_at_work(records, process)
    pids = sorted({run["process"]["pid"] for run in runs})
    assert len(pids) == 2
    process.send_signal(number)
    for pid in pids if kept else []:
        go_on_when_asked(pid, signal.SIGINT)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == code, text
    assert gone(pids)
    assert "Traceback" not in text
    stopped = {run["folder"] for run in records() if run["status"] == "killed"}
    assert len(stopped) == 2 * size
    assert len(records()) == 2 * size or not kept  # until it is killed, a slow parent may have had runs finished
    assert len(list(Path("results/runs/.checkpoints").glob("*.pt"))) == 2
    again, text = psilon(*grid, *PROCESSES, tiny=LONG)
    assert again == 0, text
    assert len(records()) == 4 * size
    assert {run["process"]["pid"] for run in records()}.isdisjoint([os.getpid(), *pids])  # what goes on, there too
    assert all(len(run["times"]["resumed"]) == 1 for run in records() if run["folder"] in stopped)
    same_as_one_by_one(psilon, records, *grid, tiny=LONG)


@linux
@pytest.mark.slow
@pytest.mark.parametrize(("retries", "grid"), [(0, GRID), (1, GRID), (1, STACKS)])
def test_a_killed_process(start: Any, psilon: Any, records: Any, retries: Any, grid: Any) -> None:
    """Only its own runs are lost, and told; or tried again where asked for. The others go on from their checkpoint."""
    process = start(*grid, *PROCESSES, f"retries={retries}", "trainer.epochs=600", tiny=LONG)
    size = 2 if grid is STACKS else 1
    runs = sorted(both_held(records, process, 2 * size), key=lambda run: run["process"]["pid"])
    other, victim = runs[0], runs[-1]  # the process that was started last
    os.kill(victim["process"]["pid"], signal.SIGKILL)
    go_on_when_asked(other["process"]["pid"], signal.SIGTERM)
    text, _ = process.communicate(timeout=120)
    assert process.returncode == (0 if retries else 1), text
    finished = {run["folder"]: run for run in records() if run["status"] == "finished"}
    assert len(finished) == (3 + retries) * size
    assert len(finished[other["folder"]]["times"]["resumed"]) == 1
    assert victim["folder"] not in finished
    if not retries:
        assert "its process ended before it" in text
        assert "1 of 4 runs failed" in text
        return
    same_as_one_by_one(psilon, records, *grid, "trainer.epochs=600", tiny=LONG)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", ["range(5)", "2,0,1,3,4"])
def test_a_run_that_kills_its_process(psilon: Any, records: Any, seeds: str) -> None:
    """Before it has a record: none of the others is lost, even where they have begun as little."""
    write_picky("os.kill(os.getpid(), 9)")
    code, text = psilon("-m", f"seed={seeds}", "model._target_=picky.Picky", *PROCESSES, "tracking=none")
    assert code == 1, text
    assert "1 of 5 runs failed" in text
    assert "its process ended before it" in text
    assert [run["status"] for run in records()] == ["finished"] * 4


@linux
@pytest.mark.slow
def test_a_run_that_kills_its_process_as_it_goes_on(start: Any, records: Any) -> None:
    """Its record still says that it was stopped, so that it would be tried again for ever: one line ends the sweep."""
    write_picky("os.path.exists('armed') and os.kill(os.getpid(), 9)")
    process = start("-m", "seed=2,3", "model._target_=picky.Picky", *PROCESSES, "trainer.epochs=600", tiny=LONG)
    stopped, victim = sorted(both_held(records, process), key=lambda run: run["seed"])
    Path("armed").touch()
    os.kill(victim["process"]["pid"], signal.SIGKILL)
    go_on_when_asked(stopped["process"]["pid"], signal.SIGTERM)
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 1, text
    assert "processes were killed 5 times in a row; hardware.workers=1 leaves more memory. 2 of 2 runs are left" in text


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
