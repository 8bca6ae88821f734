"""psilon-sync: parse, call, exit code. What is heavy is imported inside functions, so that --help stays quick."""

import sys
from pathlib import Path
from typing import NoReturn

import click

from psilon_bench.cli.exit import run_command


def main() -> NoReturn:
    """Entry point. Exit codes: 0 MLflow has all, 1 something is not sent, 2 asked for wrongly, 130 Ctrl-C."""
    run_command(sync, "psilon-sync", "stopped. The next one goes on where it was.")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folder", default="results", type=click.Path(path_type=Path))
@click.option("--uri", help="The tracking server or database, for all of them [default: where each was to go].")
@click.option("--rebuild", is_flag=True, help="Send all again; what MLflow has is not there twice.")
def sync(folder: Path, uri: str | None, rebuild: bool) -> None:
    """Send the records below FOLDER (default: results) that MLflow has not got."""
    from psilon_bench.tracking.sync import send_records

    sys.exit(0 if send_records(folder, uri, rebuild, print) else 1)
