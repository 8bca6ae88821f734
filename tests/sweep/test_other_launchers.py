"""Stacks over other launchers: the same numbers as here, failures told, a killed worker survived."""

import importlib.util
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from psilon_bench.tracking.state import mirror_state

JOBS = ("hydra.launcher.inner=joblib", "hydra.launcher.options.n_jobs=2")


def installed(module: str) -> pytest.MarkDecorator:
    missing = importlib.util.find_spec(module) is None
    return pytest.mark.skipif(missing, reason=f"{module} is not installed")


LAUNCHERS = [
    pytest.param(JOBS, marks=[installed("hydra_plugins.hydra_joblib_launcher"), pytest.mark.slow], id="joblib"),
    pytest.param(
        ("hydra.launcher.inner=submitit_local", "hardware.stack_size=2", "hardware.plan=stacked"),
        marks=[installed("hydra_plugins.hydra_submitit_launcher"), pytest.mark.slow],
        id="submitit_local",
    ),
    pytest.param(
        ("hydra.launcher.inner=ray", "hydra.launcher.options.ray.init.num_cpus=2"),
        marks=[installed("hydra_plugins.hydra_ray_launcher"), pytest.mark.slow],
        id="ray",
    ),
]


@pytest.mark.parametrize("inner", LAUNCHERS)
def test_the_same_numbers_as_here(psilon: Any, records: Any, tmp_path: Path, inner: Any) -> None:
    """Each run of a grid with a diverging member; exit code, progress, failures and MLflow as without; then skipped."""
    grid = ("-m", "seed=0,1", "reg.lam=1e-3,1e-2", "optimizer.lr=2e-3,1e300", "hardware.precision=float64")
    code, text = psilon(*grid, *inner, "name=there")
    assert code == 1, text
    assert "sweep: 8/8 runs" in text
    assert len(re.findall(r"^failed: pnet pathnorm .*; see ", text, re.M)) == 4, text
    assert "4 of 8 runs failed" in text
    there = {run["fingerprint"]: run for run in records("there")}
    assert len(there) == len(records("there")) == 8
    code, _ = psilon(*grid, "name=here", "tracking=none", "hardware.plan=serial")
    for run in records("here"):
        other = there[run["fingerprint"]]
        assert other["status"] == run["status"]
        timeless = {name for name in run["metrics"] if not name.startswith("time/")}
        assert {name: other["metrics"][name] for name in timeless} == pytest.approx(
            {name: run["metrics"][name] for name in timeless}, rel=1e-9
        )
    states = [mirror_state(run["folder"]) for run in there.values()]
    assert all(state is not None and state.done for state in states)
    assert not list(tmp_path.glob("results/there/.inner/*"))
    code, text = psilon(*grid, *inner, "name=there", "tracking=none")
    assert "8 of 8 runs are done" in text
    assert len(records("there")) == 8


@pytest.mark.slow
@installed("hydra_plugins.hydra_joblib_launcher")
def test_a_killed_worker(start: Any, psilon: Any, records: Any) -> None:
    """One line says what is left; the same command does that and nothing else."""
    grid = ("-m", "seed=range(4)", "trainer.epochs=800", "tracking=none", "hardware.plan=serial", *JOBS)
    process = start(*grid)
    deadline = time.monotonic() + 60
    while not (running := [run for run in records() if run["status"] == "running"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    psutil.Process(running[0]["process"]["pid"]).send_signal(signal.SIGKILL)
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    said = re.search(r"psilon-run: joblib ended with TerminatedWorkerError.* (\d) of 4 runs are left; the same", text)
    assert said, text
    done = sum(run["status"] == "finished" for run in records())
    assert int(said[1]) == 4 - done
    code, text = psilon(*grid)
    assert code == 0, text
    assert f"{done} of 4 runs are done" in text
    finished = [run["fingerprint"] for run in records() if run["status"] == "finished"]
    assert len(finished) == len(set(finished)) == 4


@pytest.mark.slow
@installed("hydra_plugins.hydra_submitit_launcher")
def test_the_signal_before_a_time_limit(start: Any, psilon: Any, records: Any) -> None:
    """SIGUSR2: the checkpoint is written, submitit queues the job again, and it goes on, bit for bit. Nobody called."""
    grid = ("-m", "seed=0,1", "trainer.epochs=1500", "trainer.eval_every=100", "tracking=none", "hardware.plan=serial")
    process = start(*grid, "hydra.launcher.inner=submitit_local")
    deadline = time.monotonic() + 240
    while not (begun := [run for run in records() if (run["folder"] / "history.csv").exists()]):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(begun[0]["process"]["pid"], signal.SIGUSR2)
    text, _ = process.communicate(timeout=180)
    assert process.returncode == 0, text
    ended = {run["seed"]: run for run in records()}
    assert [run["status"] for run in records()] == ["finished"] * 2
    resumed = ended[begun[0]["seed"]]
    assert resumed["folder"] == begun[0]["folder"]
    assert len(resumed["times"]["resumed"]) == 1
    assert resumed["process"]["pid"] != begun[0]["process"]["pid"]
    assert psilon(*grid, "name=here")[0] == 0
    for run in records("here"):
        assert (run["folder"] / "history.csv").read_text() == (ended[run["seed"]]["folder"] / "history.csv").read_text()


def test_one_line_for_a_wrong_launcher(forking: Any, tmp_path: Path) -> None:
    """An unknown name, an unknown option: what there is. Nothing is started."""
    said = forking(["-m", "seed=0,1", "hydra.launcher.inner=slurm"], tmp_path)
    assert (said.code, said.out, said.err) == (
        2,
        "",
        "psilon-run: hydra.launcher.inner=slurm is none of joblib, submitit_local, submitit_slurm, ray. "
        "Leave it out to run here.\n",
    )
    said = forking(["-m", "seed=0,1", "hydra.launcher.inner=joblib", "hydra.launcher.options.cores=2"], tmp_path)
    assert said.code == 2
    assert re.fullmatch(r"psilon-run: hydra.launcher.options does not fit joblib: .*'cores'.*n_jobs.*\n", said.err)
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_an_extra_that_is_not_installed(psilon: Any, tmp_path: Path) -> None:
    """The line to copy."""
    blocked = tmp_path / "hydra_plugins" / "hydra_joblib_launcher"
    blocked.mkdir(parents=True)
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.startswith('hydra_plugins.hydra_joblib_launcher'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Missing())\n"
    )
    (blocked / "__init__.py").write_text("")
    code, text = psilon("-m", "seed=0,1", "hydra.launcher.inner=joblib")
    assert code == 2
    assert text.endswith("hydra.launcher.inner=joblib is not installed. Do: pip install 'psilon-bench[joblib]'.\n")
    assert os.listdir(tmp_path / "hydra_plugins") == ["hydra_joblib_launcher"]
