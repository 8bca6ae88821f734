"""psilon-doctor: parse, call, exit code. What is heavy is imported inside functions, so that --help stays quick."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import click

from psilon_bench.cli.exit import run_command
from psilon_bench.cli.findings import Finding

NAME = "psilon-doctor"


def main() -> NoReturn:
    """Entry point. Exit codes: 0 a run would start, 1 something would stop it, 2 asked for wrongly, 130 Ctrl-C."""
    run_command(doctor, NAME, "stopped")


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.option(
    "--results-dir", type=click.Path(path_type=Path), default=Path("results"), show_default=True, help="As results_dir."
)
@click.option("--uri", envvar="MLFLOW_TRACKING_URI", help="As tracking.uri.  [default: MLFLOW_TRACKING_URI, or a file]")
@click.option("--device", default="auto", show_default=True, help="As hardware.device.")
def doctor(results_dir: Path, uri: str | None, device: str) -> None:
    """Look for what would stop a run on this machine, in this folder: a line for each finding.

    Versions beside the ranges of this package, imports, memory, disk, device, threads, C++ compiler, data cache,
    MLflow. A line begins with ok; with note, where runs do without; or with STOP, where none would start as asked.
    Nothing is left.
    """
    stops = 0
    for finding in findings(results_dir, uri, device):
        print(finding, flush=True)  # the next one may take seconds
        stops += finding.level == "STOP"
    what = "A run would start here." if not stops else f"{stops} of these would stop a run here."
    print(what)
    sys.exit(1 if stops else 0)


def findings(results_dir: Path, uri: str | None, device: str) -> Iterator[Finding]:
    """Yield what is found, from the interpreter to MLflow; where imports fail no more, for all else needs them."""
    from psilon_bench.cli import findings as look

    yield from look.at_versions()
    imports = look.at_imports()
    yield imports
    if imports.level == "STOP":
        return
    yield from look.at_own_folders()
    yield from look.at_memory()
    yield from look.at_threads()
    yield from look.at_device(device)
    yield from look.at_compiler()
    yield from look.at_results_dir(results_dir)
    yield from look.at_cache()
    yield from look.at_mlflow(uri, results_dir)
