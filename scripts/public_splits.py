"""The preset `small` on public splits with published numbers, and our place among these.

    python scripts/public_splits.py tabarena|uci|talent [--datasets anneal,...] [--splits 0,1] [--out O] [OVERRIDE ...]

PSILON_REAL_DATA (else a folder `shared` beside the checkout) has oracles/: tables, splits and published numbers.

tabarena   test rows of repeat 0, fold 0; all others train, by cross-validation
uci        20 splits of each data set (Hernandez-Lobato & Adams 2015), of which all rows but the test rows train
talent     the split that the table brings: its validation rows choose, as those of the published methods did,
           between settings that race over three seeds in the place of folds, also for 1000 epochs

What is done is not done again. Each split is a sweep of its own, OUT/KIND/DATASET_SPLIT, which reads its test rows when
its choice is made; overrides are those of psilon-run (effort=best). In the end psilon-report compares what there is.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from conformal_figures import folder_of_data
from race_figures import RUN

REPORT = (sys.executable, "-c", "from psilon_bench.cli.report import main; main()")
KINDS = {"regression": "regression", "binary": "classes", "multiclass": "classes"}
OWN_VALIDATION = ("dataset.split=split", "cv=null", "seed=0,1,2", "trainer.epochs=400,1000", "race_keep=12")
PUBLISHED = {"tabarena": "published.csv", "uci": "published_per_split.csv", "talent": "published.csv"}


@dataclass(frozen=True)
class Given:
    """A split of a data set: the table, its target, what it holds, and settings that name the test rows."""

    name: str
    table: Path
    target: str
    kind: str
    settings: tuple[str, ...]


def oracles(kind: str) -> Path:
    """Return the folder of the tables and published numbers."""
    return folder_of_data().with_name(kind)


def given_splits(kind: str, folder: Path) -> Iterator[Given]:
    """Yield all splits; those that are lists of rows are written into the folder."""
    if kind == "talent":
        for name, held in {"cpu_act": "regression", "mfeat-factors": "classes"}.items():
            table = oracles(kind) / f"{name}.parquet"
            yield Given(f"{name}_0", table, "target", held, OWN_VALIDATION)
        return
    for name, about in json.loads((oracles(kind) / "splits.json").read_text()).items():
        lists = about["test_rows"] if kind == "uci" else [about["test_rows"][0][0]]
        for number, rows in enumerate(lists):
            file = written(folder / f"{name}_{number}.csv", about["rows"], rows)
            held = KINDS[about.get("problem_type", "regression")]
            table = oracles(kind) / f"{name}.parquet"
            yield Given(f"{name}_{number}", table, about["target"], held, (f"dataset.split={file}",))


def written(file: Path, rows: int, test_rows: list[int]) -> Path:
    """Write a file that says of every row what it is for."""
    split = pd.Series("train", index=range(rows), name="split")
    split[test_rows] = "test"
    split.rename_axis("row").to_csv(file)
    return file


def sweep(given: Given, results: Path, overrides: list[str]) -> str:
    """Train what is missing of a split, and return the seconds, and where it is told why it failed."""
    command = [
        *(*RUN, "-m", "+experiment=small", f"dataset.path={given.table}", f"dataset.target={given.target}"),
        *(f"dataset.kind={given.kind}", *given.settings, f"name={given.name}", f"results_dir={results}"),
        *("tracking=none", *overrides),
    ]
    started = time.perf_counter()
    with (results / f"{given.name}.log").open("a") as log:
        code = subprocess.run(command, check=False, stdout=log, stderr=log).returncode
    return f"{time.perf_counter() - started:.1f} s{f', exit code {code}: see {log.name}' if code else ''}"


def main() -> None:
    """Train, and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=PUBLISHED)
    parser.add_argument("--datasets", default="", help="all without it")
    parser.add_argument("--splits", default="", help="of uci: 0,1,2; all without it")
    parser.add_argument("--out", type=Path, default=Path("results"))
    arguments, overrides = parser.parse_known_args()
    results = (arguments.out / arguments.kind).absolute()
    files = results / "splits"
    files.mkdir(parents=True, exist_ok=True)
    names, numbers = (set(filter(None, text.split(","))) for text in (arguments.datasets, arguments.splits))
    every = {tuple(given.name.rsplit("_", 1)): given for given in given_splits(arguments.kind, files)}
    known_names, known_numbers = zip(*every, strict=True)
    for option, asked, there in (("--datasets", names, known_names), ("--splits", numbers, known_numbers)):
        if unknown := asked.difference(there):
            known = ", ".join(dict.fromkeys(there))
            parser.error(f"{option} has no {', '.join(sorted(unknown))}. Choose from: {known}.")
    for (name, number), given in every.items():
        if (not names or name in names) and (not numbers or number in numbers):
            print(f"{given.name}: {sweep(given, results, overrides)}", flush=True)
    key = ["--against-fold", "dataset.split"] if arguments.kind == "uci" else []
    against = ["--against", str(oracles(arguments.kind) / PUBLISHED[arguments.kind]), *key]
    subprocess.run([*REPORT, results, "--ensemble", *against, "--no-attach"], check=False)


if __name__ == "__main__":
    main()
