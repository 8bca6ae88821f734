"""psilon-predict: parse, call, exit code. What is heavy is imported inside functions, so that --help stays quick."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from psilon_bench.cli.chosen import chosen_run, of_own_networks, say
from psilon_bench.cli.exit import run_command
from psilon_bench.config.conf_folder import add_folder
from psilon_bench.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from psilon_bench.records.networks import SavedEnsemble, SavedNetwork

NAME = "psilon-predict"
WRITTEN = (".csv", ".parquet")


def main() -> NoReturn:
    """Entry point. Exit codes: 0 done, 2 asked for wrongly, 130 Ctrl-C."""
    run_command(predict, NAME, "stopped")


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("rows", type=click.Path(path_type=Path))
@click.argument("settings", nargs=-1, metavar="[dataset.KEY=VALUE...]")
@click.option(
    "--which",
    type=click.Choice(["full", "compact"]),
    default="full",
    show_default=True,
    help="The network as tested, or without its dead units and inputs.",
)
@click.option("--proba", is_flag=True, help="A column for each class, with its probability.")
@click.option("--bounds", is_flag=True, help="What the certificate says of each row.")
@click.option("--out", type=click.Path(path_type=Path), help="A .csv or .parquet file.  [default: CSV to stdout]")
@of_own_networks
def predict(
    run: Path,
    rows: Path,
    settings: tuple[str, ...],
    which: Any,
    proba: bool,
    bounds: bool,
    out: Path | None,
    config_dir: Path | None,
) -> None:
    """Predict the rows of the file ROWS with the network of RUN.

    RUN is the folder of a run, of a sweep (its best run by validation loss is taken), or of an ensemble. ROWS is read
    as dataset=table reads a file: columns by name in any order, others are ignored. The output has a row for each row
    of ROWS, in the same order. dataset.sep, .charset, .missing, .decimal and .thousands say how ROWS is written, where
    that is not as in training.
    """
    if config_dir is not None:
        add_folder(config_dir)
    check_out(out)
    from psilon_bench.data.new_rows import read_new_rows
    from psilon_bench.export.finished_run import roles_of
    from psilon_bench.export.prediction import NO_RADII, predicted

    model, config = loaded(run, which)
    read = read_new_rows(rows, roles_of(first_of(model), run), {**config["dataset"], **given(settings)})
    made = predicted(model, read.frame, proba, bounds, {**NO_RADII, **config["metrics"]})
    for note in [*read.notes, *made.notes]:
        say(NAME, note)
    write(made.table, out)


def loaded(folder: Path, which: Any) -> "tuple[SavedNetwork | SavedEnsemble, dict[str, Any]]":
    """Return the network or the ensemble of a folder, and the configuration it was trained with."""
    from psilon_bench.export.finished_run import finished_run
    from psilon_bench.records import places
    from psilon_bench.records.ensemble_json import read_ensemble
    from psilon_bench.records.networks import load_ensemble

    if (folder / places.ENSEMBLE_JSON).exists():
        if which != "full":
            raise UsageError("--which compact is of one network, but RUN is an ensemble. Leave it out.")
        first = folder / read_ensemble(folder).members[0].record
        return load_ensemble(folder), finished_run(first).config
    run = chosen_run(folder, NAME)
    return run.load(which), run.config


def first_of(model: "SavedNetwork | SavedEnsemble") -> "SavedNetwork":
    """Return the network, or the first of an ensemble, whose members read the same columns."""
    from psilon_bench.records.networks import SavedEnsemble

    return model.members[0] if isinstance(model, SavedEnsemble) else model


def given(settings: tuple[str, ...]) -> dict[str, Any]:
    """Return the settings of the command line by key; UsageError for one that does not say how a file is written."""
    from omegaconf import OmegaConf
    from yaml import YAMLError

    from psilon_bench.data.new_rows import FORM

    known = [f"dataset.{key}" for key in FORM]
    for word in settings:
        if word.partition("=")[0] not in known or "=" not in word:
            raise UsageError(f"{word} does not say how ROWS is written. Set {', '.join(known)}, as in dataset.sep=tab.")
    try:
        values: Any = OmegaConf.to_container(OmegaConf.from_dotlist(list(settings)))
    except YAMLError as error:
        quoted = "'dataset.sep=\",\"'"
        raise UsageError(f"{' '.join(settings)} cannot be read as YAML. Quote signs, as in {quoted}.") from error
    return dict(values.get("dataset", {}))


def check_out(out: Path | None) -> None:
    """Raise UsageError unless the output can be written, before anything is read."""
    from psilon_bench.records.writable import probe

    if out is None:
        return
    if out.suffix not in WRITTEN:
        raise UsageError(f"--out must end in {' or '.join(WRITTEN)}, but it is {out}. Rename it.")
    try:
        if out.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        probe(out.parent)
    except OSError as error:
        raise UsageError(
            f"--out {out} cannot be written: {error.strerror}. Name a file in a folder of yours."
        ) from error


def write(table: "pd.DataFrame", out: Path | None) -> None:
    """Write the predictions to a file, whole or not at all, or as CSV to stdout."""
    from psilon_bench.records.atomic_files import atomic_write

    if out is None:
        table.to_csv(sys.stdout, index=False)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(out) as part:
        table.to_csv(part, index=False) if out.suffix == ".csv" else table.to_parquet(part, index=False)
    say(NAME, f"{len(table)} predictions: {out}")
