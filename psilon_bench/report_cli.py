"""psilon-report: parse, call, exit code. What is heavy is imported inside functions, so that --help stays quick."""

import sys
from pathlib import Path
from typing import Literal, NoReturn

import click

from psilon_bench.errors import UsageError

WIDTH_OF_FILES = 200


def main() -> NoReturn:
    """Entry point. Exit codes: 0 done, 2 asked for wrongly, 130 Ctrl-C."""
    try:
        sys.exit(report(prog_name="psilon-report", standalone_mode=False))
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except click.Abort:
        print("psilon-report: stopped", file=sys.stderr)
        sys.exit(130)
    except (UsageError, click.ClickException) as error:
        line = error.format_message() if isinstance(error, click.ClickException) else str(error)
        print(f"psilon-report: {line}", file=sys.stderr)
        sys.exit(2)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FOLDER...")
@click.option("--metric", "name", default="val/loss", show_default=True, help="What settings are chosen by.")
@click.option("--direction", type=click.Choice(["min", "max"]), help="Which is better, where the name does not tell.")
@click.option("--by", multiple=True, metavar="KEY", help="A key that makes a method, not to be tuned: reg.bound.")
@click.option("--reference", is_flag=True, help="Compare with the expected numbers that go with the runs' name.")
@click.option("--reference-file", type=click.Path(path_type=Path), metavar="FILE", help="Or with those of a file.")
@click.option("--out", type=click.Path(path_type=Path), help="Where to.  [default: FOLDER/report]")
@click.option("--figures/--no-figures", default=True, help="Draw figures, too.")
def report(
    folders: tuple[Path, ...],
    name: str,
    direction: Literal["min", "max"] | None,
    by: tuple[str, ...],
    reference: bool,
    reference_file: Path | None,
    out: Path | None,
    figures: bool,
) -> None:
    """Tables and figures of all runs below each FOLDER, such as results/psilon_higgs.

    Per data set, model and regularizer the settings are chosen by the mean validation metric over seeds, and the test
    metrics are those of the chosen.
    """
    from rich.console import Console

    from psilon_bench.report.metric import chosen_by
    from psilon_bench.report.report import make

    made = make(folders, chosen_by(name, direction), by, reference_file or ("by name" if reference else None))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH_OF_FILES
    for note in made.notes:
        console.print(note, soft_wrap=True)
    for table in made.tables:
        if table.brief:
            console.print(table.terminal())
    from psilon_bench.report.drawing import style
    from psilon_bench.report.material import Material
    from psilon_bench.report.report import draw
    from psilon_bench.report.write import write

    with style():
        drawings = list(draw(Material(made.choices, made.metric))) if figures else []
        page = write(made, drawings, out or folders[0] / "report")
    console.print(f"report: {page}", soft_wrap=True)
