"""The run that a command is given: the folder of a record, or of a sweep, whose best run is taken."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from psilon_bench.export.finished_run import FinishedRun

of_own_networks = click.option(
    "--config-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="A folder of yours, whose networks are known.",
)


def chosen_run(folder: Path, program: str) -> "FinishedRun":
    """Return the run of a record's folder, or the best of a sweep's; which it is, and its version, are said on stderr.

    Raises UsageError where there is no finished run, and for a sweep over several data sets.
    """
    from psilon_bench.errors import UsageError
    from psilon_bench.export.finished_run import finished_run
    from psilon_bench.records import places
    from psilon_bench.report.best_run import best_run

    if not folder.is_dir():
        raise UsageError(
            f"RUN must be the folder of a run or of a sweep, but {folder} is none. Take one below results."
        )
    if not (folder / places.RUN_JSON).exists():
        folder, why = best_run(folder)
        say(program, why)
    run = finished_run(folder)
    for note in run.other_versions():
        say(program, note)
    return run


def say(program: str, line: str) -> None:
    """Print a line beside the output."""
    print(f"{program}: {line}", file=sys.stderr)
