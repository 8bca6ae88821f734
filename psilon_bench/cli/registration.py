"""tracking.register=NAME: what a command has chosen, put into MLflow's registry when all of it is trained and sent."""

import sys
from pathlib import Path

from psilon_bench.config.schema import Config


def register_choice(config: Config, folder: Path) -> None:
    """Register the run in this folder, or the best of the sweep in it, as psilon-report chooses.

    Raises UsageError where there is no choice, such as of a sweep over several data sets, and where MLflow lacks it.
    """
    from psilon_bench.report.best_run import best_run
    from psilon_bench.tracking.experiment import connect
    from psilon_bench.tracking.registry import register
    from psilon_bench.tracking.server import tracking_uri

    name = config.tracking.registered_name
    assert name is not None
    record, why = best_run(folder)
    experiment = connect(tracking_uri(config), config.tracking.experiment, config.results_dir)
    version = register(experiment, record, name, why)
    print(f"psilon-run: {name} version {version} of MLflow's registry: {why}", file=sys.stderr)
