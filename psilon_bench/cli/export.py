"""psilon-export: parse, call, exit code. What is heavy is imported inside functions, so that --help stays quick."""

import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from psilon_bench.cli.chosen import chosen_run, of_own_networks
from psilon_bench.cli.exit import run_command
from psilon_bench.config.conf_folder import add_folder
from psilon_bench.errors import RunFailed, UsageError

NAME = "psilon-export"


def main() -> NoReturn:
    """Entry point. Exit codes: 0 done, 1 the export predicts something else, 2 asked for wrongly, 130 Ctrl-C."""
    run_command(export, NAME, "stopped")


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--to",
    "forms",
    required=True,
    multiple=True,
    type=click.Choice(["onnx", "numpy", "card"]),
    help="What to write; may be repeated.",
)
@click.option(
    "--which",
    type=click.Choice(["full", "compact"]),
    help="The network as tested, or without its dead units and inputs.  [default: compact where there is one]",
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Where to.  [default: RUN/export]")
@of_own_networks
def export(run: Path, forms: Any, which: Any, out: Path | None, config_dir: Path | None) -> None:
    """Write the network of RUN for other programs, with its preprocessing, beside a model card.

    onnx: a graph with an input for each raw column. numpy: one Python file that needs NumPy alone. card: the model
    card alone. RUN is the folder of a run, or of a sweep, whose best run by validation loss is taken. What is exported
    is compared with the network first, and written if it predicts the same.
    """
    if config_dir is not None:
        add_folder(config_dir)
    from psilon_bench.export import export as exporting
    from psilon_bench.records import places

    if (run / places.ENSEMBLE_JSON).exists():
        raise UsageError(
            f"{run} is an ensemble of several networks, and psilon-export takes one. Name the run of a member."
        )
    chosen = chosen_run(run, NAME)
    try:
        written = exporting.export(
            chosen, forms, which or chosen.smallest(), out or places.export_folder(chosen.folder)
        )
    except RunFailed as error:
        print(f"{NAME}: {error}", file=sys.stderr)
        sys.exit(1)
    for path in written:
        print(path)
