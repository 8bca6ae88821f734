"""psilon-report: parse, call, exit code. What is heavy is imported inside functions, so that --help stays quick."""

import contextlib
import io
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

import click

from psilon_bench.cli.exit import run_command
from psilon_bench.config.conf_folder import add_folder
from psilon_bench.errors import UsageError
from psilon_bench.machine import garbage

if TYPE_CHECKING:
    from rich.console import Console

    from psilon_bench.report.against import Comparison
    from psilon_bench.report.material import Material
    from psilon_bench.report.published import Published
    from psilon_bench.report.report import Report

WIDTH_OF_FILES = 200
WIDEST = 10_000


def main() -> NoReturn:
    """Entry point. Exit codes: 0 done, 2 asked for wrongly, 130 Ctrl-C."""
    garbage.pause()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a locale that lacks a character of a name ends nothing
            stream.reconfigure(errors="backslashreplace")
    run_command(report, "psilon-report", "stopped")


def say(line: str) -> None:
    """Print a line beside the report."""
    print(f"psilon-report: {line}", file=sys.stderr)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path), metavar="FOLDER...")
@click.option("--metric", "name", default="val/loss", show_default=True, help="What settings are chosen by.")
@click.option("--direction", type=click.Choice(["min", "max"]), help="Which is better, where the name does not tell.")
@click.option("--by", multiple=True, metavar="KEY", help="A key that makes a method, not to be tuned: reg.bound.")
@click.option("--reference", is_flag=True, help="Compare with the expected numbers that go with the runs' name.")
@click.option(
    "--reference-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Compare with the expected numbers of this file.",
)
@click.option(
    "--against", multiple=True, type=click.Path(path_type=Path), metavar="FILE", help="Compare with published numbers."
)
@click.option(
    "--against-fold", metavar="KEY", help="The key whose value is the number of a split there: dataset.split."
)
@click.option("--out", type=click.Path(path_type=Path), help="Where to.  [default: FOLDER/report]")
@click.option("--ensemble", is_flag=True, help="Choose an ensemble of the networks of FOLDER, and write it there.")
@click.option("--figures/--no-figures", default=True, help="Draw figures, too.")
@click.option(
    "--config-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="A folder of yours, whose figures are drawn and whose networks and data sets are known.",
)
@click.option(
    "--attach/--no-attach", default=True, help="Put the report on the sweep's run in MLflow, where it has one."
)
@click.option("--mlflow", metavar="EXPERIMENT", help="Take the records from MLflow instead of a folder.")
@click.option("--uri", help="The tracking server or database for --mlflow.  [default: MLFLOW_TRACKING_URI]")
def report(
    folders: tuple[Path, ...],
    name: str,
    direction: Literal["min", "max"] | None,
    by: tuple[str, ...],
    reference: bool,
    reference_file: Path | None,
    against: tuple[Path, ...],
    against_fold: str | None,
    out: Path | None,
    ensemble: bool,
    figures: bool,
    config_dir: Path | None,
    attach: bool,
    mlflow: str | None,
    uri: str | None,
) -> None:
    """Tables and figures of all runs below each FOLDER, such as results/psilon_higgs.

    Per data set, model and regularizer the settings are chosen by the mean validation metric over seeds, and the test
    metrics are those of the chosen.
    """
    published = begin(ensemble, folders, mlflow, config_dir, against, against_fold)
    with records(folders, mlflow, uri) as places:
        from psilon_bench.records.places import report_folder
        from psilon_bench.report.metric import chosen_by
        from psilon_bench.report.report import make
        from psilon_bench.report.write import write_report

        garbage.resume()
        out = out or (report_folder(folders[0]) if folders else Path(f"{as_file_name(mlflow or '')}_report"))
        check_takes_report(out)
        made = make(places, chosen_by(name, direction), by, reference_file or ("by name" if reference else None))
        comparisons = add_asked(made, folders, ensemble, published, against_fold)
        with contextlib.suppress(SystemExit):  # rich would end here where the reader has gone (| head)
            show(made, terminal())
        told = len(made.notes)
        page = write_report(made, out, material_of(made, comparisons) if figures else None)
    say_where(page, made.notes[told:])
    if attach:
        attach_to_sweeps(made, out)


def begin(
    ensemble: bool,
    folders: tuple[Path, ...],
    mlflow: str | None,
    config_dir: Path | None,
    against: tuple[Path, ...],
    fold_key: str | None,
) -> "list[Published]":
    """Make the components of a folder known, and return published numbers; UsageError for options that do not fit."""
    if ensemble and (len(folders) != 1 or mlflow):
        raise UsageError("--ensemble writes an ensemble into the folder of its networks. Give one FOLDER.")
    if config_dir is not None:
        add_folder(config_dir)
    return published_numbers(against, fold_key)


def check_takes_report(out: Path) -> None:
    """Raise UsageError unless the folder of a report can be written, before anything is made."""
    from psilon_bench.records.writable import probe

    try:
        probe(out)
    except OSError as error:
        raise UsageError(f"--out {out} cannot be written: {error.strerror}. Set --out=<a folder of yours>.") from error


def published_numbers(files: tuple[Path, ...], fold_key: str | None) -> "list[Published]":
    """Return the numbers of files, before any record is read; UsageError where they are wrong."""
    if fold_key is not None and not files:
        raise UsageError(f"--against-fold {fold_key} is for published numbers. Give them, too: --against FILE.")
    if not files:
        return []
    from psilon_bench.report.published import read_published

    return [read_published(path) for path in dict.fromkeys(files)]


def add_asked(
    made: "Report",
    folders: Sequence[Path],
    ensemble: bool,
    published: "Sequence[Published]",
    fold_key: str | None,
) -> "list[Comparison]":
    """Make the ensembles and compare with published numbers, as asked for; their tables come behind the first."""
    ensembles = add_ensembles(made, folders[0]) if ensemble else []
    if not published:
        return []
    from psilon_bench.report.against import compare_all
    from psilon_bench.report.against_tables import against_tables
    from psilon_bench.report.our_tests import our_tests, with_ensembles

    ours = our_tests(made.choices, fold_key)
    if ensembles:
        ours = with_ensembles(ours, made.choices, folders[0], ensembles)
    comparisons = compare_all(published, ours)
    made.tables[1:1] = [table for one in comparisons for table in against_tables(one) if table.rows]
    return comparisons


def material_of(made: "Report", comparisons: "Sequence[Comparison]") -> "Material":
    """Return what the figures of a report are drawn from."""
    from psilon_bench.report.material import Material

    return Material(made.choices, made.metric, made.searches, comparisons)


def add_ensembles(made: "Report", folder: Path) -> list[str]:
    """Make an ensemble for each data set, put their table behind the first, and return the data sets that have one."""
    from psilon_bench.report.ensemble import make_ensembles

    table, problems = make_ensembles(made.choices, folder)
    made.tables.insert(1, table)
    made.notes.extend(problems)
    return list(dict.fromkeys(str(row[0]) for row in table.rows))


def say_where(page: Path, problems: list[str]) -> None:
    """Say what went wrong while the report was written, and where its page is."""
    for problem in problems:
        say(problem)
    print(f"report: {page}")


def attach_to_sweeps(made: "Report", out: Path) -> None:
    """Put the report on the runs in MLflow that stand for its sweeps."""
    from psilon_bench.report.attach import attach

    attach(made, out, print)


@contextlib.contextmanager
def records(folders: tuple[Path, ...], experiment: str | None, uri: str | None) -> Iterator[list[Path]]:
    """Yield the folders that were named, or one with the records of an experiment, for as long as it is needed."""
    if experiment is None:
        if not folders:
            raise UsageError("Say which runs: psilon-report results/<name>, or --mlflow EXPERIMENT.")
        yield list(folders)
        return
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI")
    if folders or not uri:
        raise UsageError("--mlflow EXPERIMENT needs --uri (or MLFLOW_TRACKING_URI), and no FOLDER.")
    from psilon_bench.report.from_mlflow import fetch_records

    with tempfile.TemporaryDirectory(prefix="psilon-report-") as folder:
        place = Path(folder, as_file_name(experiment))
        place.mkdir()
        fetch_records(experiment, uri, place, say)
        yield [place]


def as_file_name(experiment: str) -> str:
    """Return the name of an experiment as that of a file in this folder."""
    return re.sub(r"[^\w.+-]+", "_", experiment).lstrip(".") or "experiment"


def terminal() -> "Console":
    """Return the console for the report; a file is wide."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH_OF_FILES
    return console


def show(made: "Report", console: "Console") -> None:
    """Print the notes and the brief tables; a table that is too wide for the terminal as a list of its rows."""
    from rich.text import Text

    anywhere = console.options.update(max_width=WIDEST)
    for note in made.notes:
        console.print(Text(note), soft_wrap=True)
    for table in made.tables:
        if table.brief:
            shown = table.terminal()
            fits = console.measure(shown, options=anywhere).minimum <= console.width
            console.print(shown if fits else table.listed())
