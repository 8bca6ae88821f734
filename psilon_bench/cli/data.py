"""psilon-data: look after the data cache. What is heavy is imported inside functions, so that --help stays quick."""

import re
from typing import Any, NoReturn

import click

from psilon_bench.cli.exit import run_command
from psilon_bench.errors import UsageError

OPENML_ID = click.IntRange(1)
OPENML_ID.name = "whole number"


def main() -> NoReturn:
    """Entry point. Exit codes: 0 done, 1 damage found, 2 asked for wrongly, 130 Ctrl-C."""
    run_command(commands, "psilon-data", "stopped; what is not complete will be fetched anew")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """Fetch data once, then run offline. The cache lies in PSILON_DATA, or in the platform's cache folder."""


@commands.command("list")
def list_() -> None:
    """Show what the cache holds."""
    from psilon_bench.data import store
    from psilon_bench.run.printing import folding, laid_out, plain_console

    keys = ("name", "target", "rows", "features", "fetched")
    rows = [(key, *(str(store.read_about(key).get(k, "")) for k in keys)) for key in store.entries()]
    console = plain_console()
    console.print(str(store.root()), soft_wrap=True)
    console.print(laid_out(console, folding("entry", *keys), rows))


@commands.group()
def fetch() -> None:
    """Bring data into the cache."""


@fetch.command("openml")
@click.argument("task_ids", type=OPENML_ID, nargs=-1, required=True)
@click.option("--splits", is_flag=True, help="Their own splits too, for dataset.splits=openml.")
def fetch_openml(task_ids: tuple[int, ...], splits: bool) -> None:
    """Fetch OpenML tasks with their data sets."""
    from psilon_bench.data import openml_fetch, openml_splits

    for task_id in task_ids:
        task = openml_fetch.obtain_task(task_id, offline=False)
        data = openml_fetch.obtain_data(task.about["data_id"], offline=False)
        if splits:
            openml_splits.obtain_splits(task_id, offline=False)
        _say(f"task {task_id}, data set", data.about)


@fetch.command("data")
@click.argument("data_ids", type=OPENML_ID, nargs=-1, required=True)
def fetch_data(data_ids: tuple[int, ...]) -> None:
    """Fetch OpenML data sets, such as those of images: 554, 40996, 40927, 41081."""
    from psilon_bench.data import openml_fetch

    for data_id in data_ids:
        _say("data set", openml_fetch.obtain_data(data_id, offline=False).about)


@fetch.command("suite")
@click.argument("suite")
@click.pass_context
def fetch_suite(context: click.Context, suite: str) -> None:
    """Fetch every task of a suite in conf/suite: 334, 335, 336 or 337."""
    context.invoke(fetch_openml, task_ids=tuple(suite_tasks(suite)), splits=False)


def suite_tasks(suite: str) -> list[int]:
    """Task ids in the order of conf/suite/grinsztajn_<suite>.yaml, which presets sweep over."""
    import yaml

    from psilon_bench.config.conf_folder import CONF

    files = {file.stem.rpartition("_")[2]: file for file in sorted((CONF / "suite").glob("*.yaml"))}
    if suite not in files:
        raise UsageError(f"A suite must be one of {', '.join(files)}, but {suite!r} is not. Choose one of these.")
    content = yaml.safe_load(files[suite].read_text(encoding="utf-8"))
    return [int(i) for i in re.findall(r"\d+", content["hydra"]["sweeper"]["params"]["dataset.task_id"])]


@commands.command()
@click.argument("number", metavar="ID", type=OPENML_ID)
def info(number: int) -> None:
    """Show what the cache knows about the OpenML task or data set ID."""
    import json

    from psilon_bench.data import store

    found = [key for key in (f"task/{number}", f"data/{number}", f"splits/{number}") if key in store.entries()]
    if not found:
        raise UsageError(
            f"The cache has no task or data set {number}. Run `psilon-data fetch openml {number}` for a task, "
            f"`psilon-data fetch data {number}` for a data set."
        )
    for key in found:
        print(f"{store.root() / key}\n{json.dumps(store.read_about(key), indent=2)}")


@commands.command()
@click.pass_context
def verify(context: click.Context) -> None:
    """Compare every file of the cache with its checksum."""
    from psilon_bench.data import store

    damaged = 0
    for key in store.entries():
        try:
            store.read_entry(key)
        except store.DamagedEntry as damage:
            print(f"damaged: {damage}; it will be set aside and fetched anew when next used")
            damaged += 1
    print(f"{store.root()}: {len(list(store.entries()))} entries, {damaged} damaged")
    context.exit(1 if damaged else 0)


def _say(what: str, about: dict[str, Any]) -> None:
    print(f"{what} {about['data_id']}: {about['name']}, {about['rows']} rows, {about['features']} features")
