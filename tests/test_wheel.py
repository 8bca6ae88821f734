"""The wheel, unpacked in a folder without the source tree, runs from any folder."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import extend_page
import pytest
from tiny import TINY

ROOT = Path(__file__).parents[1]
PROGRAMS = {
    "psilon-run": "from psilon_bench.cli.run import main; main()",
    "psilon-report": "from psilon_bench.cli.report import main; main()",
}


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content, on its own."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def python(unpacked: Path, folder: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with the wheel; -P keeps the working folder, and PYTHONPATH the source tree, off the path."""
    environment = {**os.environ, "PYTHONPATH": str(unpacked), "PSILON_COMPONENTS": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-c", code, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_wheel_holds_the_configuration(unpacked: Any) -> None:
    """Every file of conf/, the package, Hydra's plugin, and nothing of the tests."""
    there = {str(path.relative_to(unpacked / "psilon_bench")) for path in unpacked.glob("psilon_bench/conf/**/*.yaml")}
    assert there == {str(path.relative_to(ROOT)) for path in ROOT.glob("conf/**/*.yaml")}
    assert (unpacked / "hydra_plugins/psilon_stacked/plugins.py").is_file()
    assert not list(unpacked.glob("tests*"))


@pytest.mark.slow
def test_the_wheel_runs_from_any_folder(unpacked: Any, tmp_path: Path) -> None:
    """A run and a multirun with the unpacked package alone; its records lie in the working folder."""
    conf = python(unpacked, tmp_path, "from psilon_bench.config.conf_folder import CONF; print(CONF)").stdout
    assert conf.strip() == str(unpacked / "psilon_bench/conf")
    for arguments in (TINY, ("-m", *TINY, "seed=1,2")):
        done = python(unpacked, tmp_path, PROGRAMS["psilon-run"], *arguments)
        assert (done.returncode, done.stderr) == (0, "")
    assert len(list(tmp_path.glob("results/runs/*/run.json"))) == 3


@pytest.mark.slow
def test_a_stranger_follows_the_page(unpacked: Any, tmp_path: Path) -> None:
    """The wheel, a copy of the example and an empty folder: each command of the tutorial as it is, and its Python."""
    example, empty = tmp_path / "example" / "own_component", tmp_path / "empty"
    shutil.copytree(extend_page.EXAMPLE, example)
    empty.mkdir()
    for program, *arguments in extend_page.commands(example):
        done = python(unpacked, empty, PROGRAMS[program], *arguments)
        assert done.returncode == 0, done.stderr
    report = empty / "results" / "spirals" / "report" / "figures"
    assert {"spherical_against_loss.svg", "decision_regions_spirals.svg"} <= {path.name for path in report.iterdir()}
    done = python(unpacked, empty, extend_page.python(example))
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in empty.iterdir()] == ["results"]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["hardware.plan=processes", "hydra.launcher.inner=joblib"])
def test_other_processes_find_the_folder(unpacked: Any, tmp_path: Path, how: Any) -> None:
    """Own network, regularizer, data set and metric in a sweep that trains elsewhere than in its own process."""
    names = ("model=maxout", "reg=log_sum", "dataset=spirals", "metrics.functions=[spherical.spherical_loss]")
    run = ("-m", "--config-dir", str(extend_page.EXAMPLE), *names, "seed=0,1", "trainer.epochs=2", "tracking=none", how)
    done = python(unpacked, tmp_path, PROGRAMS["psilon-run"], *run)
    assert done.returncode == 0, done.stderr
    runs = [json.loads(path.read_text()) for path in tmp_path.glob("results/runs/*/run.json")]
    assert [run["status"] for run in runs] == ["finished"] * 2
    assert all("test/spherical_loss" in run["metrics"] for run in runs)
