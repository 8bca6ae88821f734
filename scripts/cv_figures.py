"""Lambda by one split against lambda by five folds: the test loss of both choices, and of an ensemble.

    python scripts/cv_figures.py [--datasets breast_cancer,361072,...] [--splits 3] [--results results] [OVERRIDE ...]

For each data set (an option of the group dataset, or an OpenML task id) and each split, 13 lambdas x 2 seeds are
trained on one split into training and validation rows, and by cv=5. A row has means over the splits: the
test loss of the lambda that the split chooses, that of the lambda that the folds choose after its refit, and that of
the ensemble of fold networks. Both choices see the same rows, and the test rows are the same. What was trained
is not trained again. Cost: 158 runs for each data set and split.
"""

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

from race_figures import LAMS, METRIC, RUN
from rich.console import Console
from rich.table import Table

from psilon_bench.records.ensemble_json import read_ensemble
from psilon_bench.records.places import ensemble_folder
from psilon_bench.report.grouping import groups_of
from psilon_bench.report.records import scan
from psilon_bench.report.selection import choose

REPORT = (sys.executable, "-c", "from psilon_bench.cli.report import main; main()")
CV = ("cv=5",)


def dataset_of(name: str) -> list[str]:
    """Return the overrides that choose a data set; of an OpenML task at most 4000 rows."""
    openml = ["dataset=openml", f"dataset.task_id={name}", "dataset.max_rows=4000", "dataset.encoding=codes"]
    return openml if name.isdigit() else [f"dataset={name}"]


def train(name: str, split: int, results: Path, overrides: list[str], more: tuple[str, ...]) -> Path:
    """Train what is missing of one sweep, and return its folder."""
    label = f"cv_figures_{name}_{split}_{'folds' if more else 'split'}"
    command = [*RUN, "-m", *dataset_of(name), f"reg.lam={LAMS}", "seed=0,1", f"dataset.split_seed={split}"]
    places = [f"name={label}", f"results_dir={results}", "tracking=none"]
    subprocess.run([*command, *places, *more, *overrides], check=False, stdout=subprocess.DEVNULL)
    return results / label


def test_loss(folder: Path) -> float:
    """Return the mean test loss of the chosen setting: of a cross-validation that of its refits."""
    (group,), _ = groups_of(scan([folder]).runs)
    setting = choose(group, METRIC).setting
    assert setting is not None, f"{folder} has no finished run"
    return statistics.fmean(setting.numbers("test/loss"))


def ensemble_loss(folder: Path) -> float:
    """Return the test loss of the ensemble of a cross-validation, which is chosen anew."""
    options = ["--ensemble", "--no-figures", "--no-attach"]
    subprocess.run([*REPORT, str(folder), *options], check=True, stdout=subprocess.DEVNULL)
    (group,), _ = groups_of(scan([folder]).runs)
    return read_ensemble(ensemble_folder(folder, group.dataset)).loss["test"]


def row_of(name: str, splits: int, results: Path, overrides: list[str]) -> list[str]:
    """Return the row of a data set: means over splits, and on how many of them the folds beat the split."""
    by_split, by_folds, ensembles = [], [], []
    for split in range(splits):
        by_split.append(test_loss(train(name, split, results, overrides, ())))
        folder = train(name, split, results, overrides, CV)
        by_folds.append(test_loss(folder))
        ensembles.append(ensemble_loss(folder))
    means = [f"{statistics.fmean(losses):.4g}" for losses in (by_split, by_folds, ensembles)]
    wins = [sum(a < b for a, b in zip(losses, by_split, strict=True)) for losses in (by_folds, ensembles)]
    return [name, *means, *(f"{count} of {splits}" for count in wins)]


def main() -> None:
    """Train, and print the table as far as it has come after each data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", default="breast_cancer,diabetes,361072,361077")
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("overrides", nargs="*", help="of all sweeps, such as model.hidden=100 trainer.epochs=300")
    asked = parser.parse_args()
    heads = ("one split", "5 folds, refit", "ensemble", "folds better on", "ensemble better on")
    table = Table("data set", *heads, title="test loss")
    for name in asked.datasets.split(","):
        table.add_row(*row_of(name, asked.splits, asked.results.absolute(), asked.overrides))
        Console().print(table)


if __name__ == "__main__":
    main()
