"""The wheel, unpacked in a folder without the source tree, runs from any folder."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tiny import TINY

ROOT = Path(__file__).parents[1]
RUN = "from psilon_bench.cli.run import main; main()"


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content, on its own."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT]
    subprocess.run(command, check=True, capture_output=True, text=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(unpacked: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """psilon-run from the wheel; -P keeps the working folder, and PYTHONPATH the source tree, off the path."""
    environment = {**os.environ, "PYTHONPATH": str(unpacked), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-c", RUN, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_wheel_holds_the_configuration(unpacked):
    """Every file of conf/, the package, Hydra's plugin, and nothing of the tests."""
    there = {str(path.relative_to(unpacked / "psilon_bench")) for path in unpacked.glob("psilon_bench/conf/**/*.yaml")}
    assert there == {str(path.relative_to(ROOT)) for path in ROOT.glob("conf/**/*.yaml")}
    assert (unpacked / "hydra_plugins/psilon_stacked/plugins.py").is_file()
    assert not list(unpacked.glob("tests*"))


@pytest.mark.slow
def test_the_wheel_runs_from_any_folder(unpacked, tmp_path):
    """A run and a multirun with the unpacked package alone; its records lie in the working folder."""
    where = "import psilon_bench.config.schema as c; print(c.CONF)"
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}
    command = [sys.executable, "-P", "-c", where]
    conf = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
    assert conf.strip() == str(unpacked / "psilon_bench/conf")
    for arguments in (TINY, ("-m", *TINY, "seed=1,2")):
        done = run(unpacked, tmp_path, *arguments)
        assert (done.returncode, done.stderr) == (0, "")
    assert len(list(tmp_path.glob("results/runs/*/run.json"))) == 3
