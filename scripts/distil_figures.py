"""Can one compact network with a certificate do what an ensemble does? Students with and without a teacher.

    python scripts/distil_figures.py [--datasets wine,my.csv] [--seeds 3] [--results results] [OVERRIDE ...]

For each data set (an option of the group dataset, or the file of a table) and each split: an ensemble of P-Nets of two
shapes and four lambdas (cv=5 ensemble=true); then students, P-Nets of width 64, lambda chosen by the same
five folds, trained on labels alone, on means of labels and the ensemble's out-of-fold predictions (w = .5) and on
these alone (w = 1); then each of them again with its lambda and pruner=l1_projection. The choices look at no test row.
A row has means and standard deviations over splits: the test loss (cross-entropy, or the error in units of the target),
its ratio to that of the ensemble and how often that is at most 1.02, of classes the accuracy, the certificate and the
weights that are not 0.
What was trained is not trained again. Cost: 3 minutes of processor time a split.
"""

import argparse
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from race_figures import RUN
from rich.console import Console
from rich.table import Table

from psilon_bench.config.marks import names_file
from psilon_bench.records import places
from psilon_bench.records.ensemble_json import read_ensemble
from psilon_bench.records.run_json import read_raw
from psilon_bench.report.ensemble_scores import ensemble_scores

CHEAP = ("metrics.radii=[]", "metrics.lipschitz_points=1", "hardware.plan=stacked")
COMMON = ("optimizer.lr=5e-3", "trainer.eval_every=50", *CHEAP)
LAMS = "reg.lam=1e-5,1e-4,1e-3,1e-2"
SHAPES = "hydra.sweeper.grids={deep:{model.hidden:64,model.depth:3},wide:{model.hidden:128,model.depth:2}}"
WEIGHTS = (None, 0.5, 1.0)  # of the teacher; None: no teacher
EQUAL = 1.02  # times the ensemble's test loss
# who, test loss, accuracy, certificate, weights that are not 0
Row = tuple[str, float, float | None, float | None, float | None]


class Split:
    """The sweeps of one data set and split, below a folder of results."""

    def __init__(self, data: str, seed: int, results: Path, overrides: list[str]) -> None:
        self.label, self.results = f"distil_figures_{Path(data).stem}_{seed}", results
        dataset = ["dataset=table", f"dataset.path={data}"] if names_file(data) else [f"dataset={data}"]
        places_of = [f"results_dir={results}", "tracking=none"]
        self.common = [*dataset, f"seed={seed}", f"dataset.split_seed={seed}", *COMMON, *places_of, *overrides]

    def train(self, name: str, *more: str) -> Path:
        """Train what is missing of one sweep, and return its folder."""
        label = f"{self.label}_{name}"
        done = subprocess.run([*RUN, "-m", *self.common, f"name={label}", *more], check=False, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()[-2000:]
        return self.results / label

    def rows(self) -> Iterator[Row]:
        """Yield a row for the ensemble, its best setting alone, and each student, as trained and pruned."""
        folder = self.train("ensemble", SHAPES, LAMS, "cv=5", "ensemble=true")
        (place,) = (path.parent for path in folder.glob(f"ensembles/*/{places.ENSEMBLE_JSON}"))
        made, scores = read_ensemble(place), ensemble_scores(place)
        loss = scores.get("test/rmse", made.loss["test"])
        yield "ensemble", loss, scores.get("test/accuracy"), None, None
        yield "its best setting", loss * made.loss_of_best["test"] / made.loss["test"], None, None, None
        for weight in WEIGHTS:
            taught = [] if weight is None else [f"trainer.teacher={place}", f"trainer.teacher_weight={weight}"]
            who = "student of labels" if weight is None else f"student, w = {weight:g}"
            settings = ["model.hidden=64", *taught]
            refit = refit_of(self.train(f"student_{weight}", LAMS, "cv=5", *settings))
            yield who, *figures(refit)
            again = (
                f"reg.lam={refit['params']['reg.lam']}",
                "dataset.folds=5",
                "dataset.fold=all",
                "pruner=l1_projection",
            )
            yield f"{who}, pruned", *figures(refit_of(self.train(f"pruned_{weight}", *again, *settings)))


def refit_of(folder: Path) -> dict[str, Any]:
    """Return run.json of the one run that trained on all rows but those of the test."""
    runs = [read_raw(record) for record in places.records_in(folder)]
    (refit,) = (run for run in runs if run["params"]["dataset.fold"] == "all")
    return refit


def figures(run: dict[str, Any]) -> tuple[float, float | None, float, float]:
    """Return test loss (of a regression in units of the target), accuracy, certificate and weights that are not 0."""
    metrics = run["metrics"]
    loss, accuracy = metrics.get("test/rmse", metrics["test/loss"]), metrics.get("test/accuracy")
    return loss, accuracy, metrics["lipschitz_bound"], metrics["num_nonzero"]


def told(values: list[Any], digits: int) -> str:
    """Return mean and standard deviation in so many digits; nothing where there are none."""
    if values[0] is None:
        return ""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):.{digits}g} ± {spread:.2g}"


def main() -> None:
    """Train, and print the table as far as it has come after each data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", default="breast_cancer,wine,diabetes,digits")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--results", type=Path, default=Path("results"))
    given, overrides = parser.parse_known_args()
    losses = ("test loss", "of the ensemble's", f"<= {EQUAL}")
    table = Table("data set", "network", "n", *losses, "accuracy", "certificate", "nonzero")
    for data in given.datasets.split(","):
        splits = [list(Split(data, seed, given.results, overrides).rows()) for seed in range(given.seeds)]
        for of_who in zip(*splits, strict=True):
            ratios = [row[1] / split[0][1] for row, split in zip(of_who, splits, strict=True)]
            equal = f"{sum(ratio <= EQUAL for ratio in ratios)} of {len(ratios)}"
            columns = [told([row[k] for row in of_who], 3) for k in (1, 2, 3, 4)]
            table.add_row(data, of_who[0][0], str(len(ratios)), columns[0], told(ratios, 3), equal, *columns[1:])
        Console(width=160).print(table)


if __name__ == "__main__":
    main()
