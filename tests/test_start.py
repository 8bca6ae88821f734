"""What a run must not import, for it would take seconds before the first step."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType

from psilon_bench.config.conf_folder import CONF
from psilon_bench.config.hydra_internals import list_options_in_place

PROGRAM = """
import sys
from psilon_bench.cli.run import job, exit_code
import hydra
from psilon_bench.config.conf_folder import CONF
data = ["dataset=table", "dataset.path=rows.csv", "dataset.target=y"]
sys.argv = ["psilon-run", "trainer.epochs=1", "model.hidden=4", "tracking=none", *data]
code = exit_code(hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(job))
heavy = {"torch._dynamo", "mlflow", "openml", "matplotlib", "sklearn", "scipy.stats", "scipy.optimize"}
heavy &= set(sys.modules)
sys.exit(code or f"imported: {heavy}" if heavy else code)
"""


@pytest.mark.parametrize("target", ["classes", pytest.param("numbers", marks=pytest.mark.slow)])
def test_a_run_imports_nothing_heavy(target: Any, tmp_path: Path) -> None:
    """torch._dynamo, MLflow (it has a process of its own), openml and scikit-learn take 1 to 2 s each."""
    words = ["yes", "no", "no"] if target == "classes" else ["1.5", "2.5", "3.5"]
    lines = [f"{row % 7},{row % 5},{words[row % 3]}" for row in range(90)]
    (tmp_path / "rows.csv").write_text("\n".join(["a,b,y", *lines]))
    command = [sys.executable, "-c", PROGRAM]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.returncode == 0, result.stderr


def test_options_are_listed_as_hydra_lists_them() -> None:
    """The quick way, without copies of Hydra's store, against Hydra's own, which it takes where overrides are given."""
    list_options_in_place()
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        loader = GlobalHydra.instance().config_loader()
        for group in ("model", "experiment", "hydra/launcher"):
            quick = loader.get_group_options(group)
            assert quick == loader.get_group_options(group, ObjectType.CONFIG, "config", ["seed=1"])
            assert quick
        assert "model" in loader.list_groups("")


def test_a_reader_who_has_gone() -> None:
    """psilon-run --help | head ends without a word."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [str(Path(sys.executable).with_name("psilon-run")), "--help"]
    result = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (result.returncode, result.stderr) == (128 + signal.SIGPIPE, b"")
