"""What a run must not import, for it would take seconds before the first step."""

import subprocess
import sys

PROGRAM = """
import sys
from psilon_bench.cli import job, exit_code
import hydra
from psilon_bench.config import CONF
sys.argv = ["psilon-run", "trainer.epochs=1", "model.hidden=4", "tracking=none"]
code = exit_code(hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(job))
heavy = {"torch._dynamo", "mlflow", "openml", "matplotlib"} & set(sys.modules)
sys.exit(code or f"imported: {heavy}" if heavy else code)
"""


def test_a_run_imports_nothing_heavy() -> None:
    """torch._dynamo (1.0 s), MLflow (1.5 s; it has a process of its own) and openml (1.1 s) stay out."""
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
