"""What a run must not import, for it would take seconds before the first step."""

import os
import signal
import subprocess
import sys
from pathlib import Path

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
sys.argv = ["psilon-run", "trainer.epochs=1", "model.hidden=4", "tracking=none"]
code = exit_code(hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(job))
heavy = {"torch._dynamo", "mlflow", "openml", "matplotlib"} & set(sys.modules)
sys.exit(code or f"imported: {heavy}" if heavy else code)
"""


def test_a_run_imports_nothing_heavy() -> None:
    """torch._dynamo (1.0 s), MLflow (1.5 s; it has a process of its own) and openml (1.1 s) stay out."""
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
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
