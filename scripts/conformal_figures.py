"""Do intervals of metrics.coverage=0.9 hold nine of ten targets? The coverage on the splits of the UCI data sets.

    python scripts/conformal_figures.py [--datasets boston,energy,...] [--results results] [OVERRIDE ...]

PSILON_REAL_DATA (else a folder `shared` beside the checkout) has oracles/uci: for each data set a Parquet table, and in
splits.json the test rows of its 20 splits (Hernandez-Lobato & Adams 2015). A fifth of the others validates, drawn anew
for each split. A row has the mean of test/coverage over the splits with its standard deviation and the standard error
of the mean, what is promised, ceil((n + 1) 0.9) / (n + 1) of n validation rows, and the means of the width and the
error in units of the target. What was trained is not trained again. Cost: 20 runs for each data set, 3 s each.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
from race_figures import RUN
from rich.console import Console
from rich.table import Table

from psilon_bench.metrics.conformal import rank
from psilon_bench.report.records import Run, scan

SETTINGS = ("model=pnet", "model.hidden=32", "reg=pathnorm", "reg.lam=1e-3", "trainer.epochs=100", "hardware.threads=1")
LEVEL = 0.9
COVERAGE = f"metrics.coverage={LEVEL}"


def folder_of_data() -> Path:
    """Return the folder of the tables and splits."""
    return Path(os.environ.get("PSILON_REAL_DATA", Path(__file__).parents[2] / "shared")).absolute() / "oracles/uci"


def split_files(name: str, about: dict[str, Any], folder: Path) -> list[Path]:
    """Write a file of each split of a data set, which says of every row what it is for."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number, test_rows in enumerate(about["test_rows"]):
        split = pd.Series("train", index=range(about["rows"]), name="split")
        split[test_rows] = "test"
        split[split[split == "train"].sample(frac=0.2, random_state=number).index] = "val"
        files.append(folder / f"{name}_{number}.csv")
        split.rename_axis("row").to_csv(files[-1])
    return files


def train(name: str, about: dict[str, Any], results: Path, overrides: list[str]) -> list[Run]:
    """Train what is missing, and return the finished runs of all splits."""
    label = f"conformal_figures_{name}"
    files = split_files(name, about, results / "conformal_figures_splits")
    dataset = [
        *("dataset=table", f"dataset.path={folder_of_data() / name}.parquet", f"dataset.target={about['target']}"),
        *("dataset.kind=regression", f"dataset.split={','.join(map(str, files))}"),
    ]
    places = [f"name={label}", f"results_dir={results}", "tracking=none"]
    command = [*RUN, "-m", *dataset, *SETTINGS, COVERAGE, *places, *overrides]
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
    return [run for run in scan([results / label]).runs if run.status == "finished"]


def row_of(name: str, runs: list[Run]) -> list[str]:
    """Return the row of a data set."""
    columns = {key: [run.metrics[f"test/{key}"] for run in runs] for key in ("coverage", "interval_width", "rmse")}
    mean, sd = statistics.fmean(columns["coverage"]), statistics.stdev(columns["coverage"])
    (rows,) = {run.val_weight for run in runs}
    numbers = (mean, sd, sd / math.sqrt(len(runs)), rank(round(rows), LEVEL) / (rows + 1))
    others = [f"{statistics.fmean(columns[key]):.3g}" for key in ("interval_width", "rmse")]
    return [name, str(len(runs)), str(rows), *(f"{value:.4f}" for value in numbers), *others]


def main() -> None:
    """Train, and print the table as far as it has come after each data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", default="boston,energy")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("overrides", nargs="*", help="of all runs, such as model.hidden=100 seed=1")
    asked = parser.parse_args()
    splits = json.loads((folder_of_data() / "splits.json").read_text(encoding="utf-8"))
    heads = ("splits", "val rows", "coverage", "sd", "error", "promised", "interval width", "RMSE")
    table = Table("data set", *heads, title=COVERAGE)
    for name in asked.datasets.split(","):
        table.add_row(*row_of(name, train(name, splits[name], asked.results.absolute(), asked.overrides)))
        Console().print(table)


if __name__ == "__main__":
    main()
