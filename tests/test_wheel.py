"""The wheel that the sdist gives, unpacked or installed in a folder without the source tree, runs from any folder."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import component_page
import pytest
from tiny import TINY

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
BACKEND = PYPROJECT["build-system"]["requires"]
PROGRAMS = {
    "psilon-run": "from psilon_bench.cli.run import main; main()",
    "psilon-report": "from psilon_bench.cli.report import main; main()",
}


def done(*command: str | Path, **how: Any) -> None:
    """Run a command that must succeed, and show what it said where it does not."""
    ended = subprocess.run(command, capture_output=True, text=True, check=False, **how)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that is built of the sdist, which is built of the source tree."""
    folder = tmp_path_factory.mktemp("wheel")
    pip, backend = (sys.executable, "-m", "pip", "--quiet"), str(folder / "backend")
    done(*pip, "install", "--target", backend, *BACKEND)
    code = f"from hatchling.build import build_sdist; build_sdist({str(folder)!r})"
    done(sys.executable, "-c", code, cwd=ROOT, env={**os.environ, "PYTHONPATH": backend})
    (sdist,) = folder.glob("*.tar.gz")
    done(*pip, "wheel", "--no-deps", "--wheel-dir", folder, sdist)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def unpacked(wheel: Path) -> Path:
    """The wheel's content, on its own."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(wheel.parent / "site")
    return wheel.parent / "site"


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """The bin/ of an empty environment where the wheel is installed; its dependencies are those of this process."""
    home = wheel.parent / "environment"
    done(sys.executable, "-m", "venv", "--without-pip", home)
    (site,) = home.glob("lib/python*/site-packages")
    # a path file lists folders, whose own path files (that of the editable source tree) do not count
    folders = [folder for folder in sys.path if folder.endswith("site-packages")]
    (site / "dependencies.pth").write_text("\n".join(folders), encoding="utf-8")
    pip = (sys.executable, "-m", "pip", "--quiet", "--python", str(home / "bin" / "python"))
    done(*pip, "install", "--no-deps", "--ignore-installed", wheel)
    return home / "bin"


@pytest.mark.slow
def test_the_commands_of_an_installed_wheel(installed: Path, tmp_path: Path) -> None:
    """From a doctor's look to predictions, in an environment of its own, outside the source tree."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PSILON"))}
    environment |= {"OMP_NUM_THREADS": "1", "HOME": str(tmp_path)}
    where = "import psilon_bench, hydra_plugins.psilon_stacked as p; print(psilon_bench.__file__, p.__file__)"
    command = [str(installed / "python"), "-c", where]
    said = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert all(Path(file).is_relative_to(installed.parent) for file in said.stdout.split())
    bundled = "from sklearn.datasets import load_wine; load_wine(as_frame=True).frame.to_csv('rows.csv')"
    for program, *arguments in (
        ("python", "-c", bundled),
        ("psilon-doctor",),
        ("psilon-run", "dataset=wine", *TINY),
        ("psilon-run", "-m", *TINY, "dataset=wine", "seed=1,2"),
        ("psilon-report", "results/runs", "--no-figures"),
        ("psilon-predict", "results/runs", "rows.csv", "--out", "predictions.csv"),
        ("psilon-certify", "results/runs"),
        ("psilon-data", "list"),
    ):
        done(installed / program, *arguments, cwd=tmp_path, env=environment)
    assert len((tmp_path / "predictions.csv").read_text(encoding="utf-8").splitlines()) == 179


def test_the_citation_has_the_version_of_the_package() -> None:
    """A release sets both."""
    assert f"\nversion: {PYPROJECT['project']['version']}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


@pytest.mark.slow
def test_what_a_wheel_says_of_itself(unpacked: Path) -> None:
    """Licence, types, commands and the version."""
    (about,) = unpacked.glob("*.dist-info")
    said = (about / "METADATA").read_text(encoding="utf-8")
    assert "License-Expression: MIT" in said
    assert (about / "licenses" / "LICENSE").is_file()
    assert (unpacked / "psilon_bench" / "py.typed").is_file()
    commands = (about / "entry_points.txt").read_text(encoding="utf-8").split("[console_scripts]")[1]
    assert {
        f"psilon-{file.stem}" for file in ROOT.glob("psilon_bench/cli/*.py") if "def main(" in file.read_text()
    } == {line.partition(" ")[0] for line in commands.strip().splitlines()}
    assert f"Version: {PYPROJECT['project']['version']}" in said


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
    shutil.copytree(component_page.EXAMPLE, example)
    empty.mkdir()
    for program, *arguments in component_page.commands(example):
        done = python(unpacked, empty, PROGRAMS[program], *arguments)
        assert done.returncode == 0, done.stderr
    report = empty / "results" / "spirals" / "report" / "figures"
    assert {"spherical_against_loss.svg", "decision_regions_spirals.svg"} <= {path.name for path in report.iterdir()}
    done = python(unpacked, empty, component_page.python(example))
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in empty.iterdir()] == ["results"]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["hardware.plan=processes", "hydra.launcher.inner=joblib"])
def test_other_processes_find_the_folder(unpacked: Any, tmp_path: Path, how: Any) -> None:
    """Own network, regularizer, data set and metric in a sweep that trains elsewhere than in its own process."""
    names = ("model=maxout", "reg=log_sum", "dataset=spirals", "metrics.functions=[spherical.spherical_loss]")
    run = (
        "-m",
        "--config-dir",
        str(component_page.EXAMPLE),
        *names,
        "seed=0,1",
        "trainer.epochs=2",
        "tracking=none",
        how,
    )
    done = python(unpacked, tmp_path, PROGRAMS["psilon-run"], *run)
    assert done.returncode == 0, done.stderr
    runs = [json.loads(path.read_text()) for path in tmp_path.glob("results/runs/*/run.json")]
    assert [run["status"] for run in runs] == ["finished"] * 2
    assert all("test/spherical_loss" in run["metrics"] for run in runs)
