"""A search against a grid of as many settings: lambda and learning rate, both on a logarithmic scale.

    python scripts/search_figures.py breast_cancer wine digits --epochs 200

TPE has 64 trials in batches of 16, the grid 8 x 8 settings with the same ends. Prints for each data set the best
validation loss of both, the test loss of the chosen setting, the seconds, and who wins. The same command goes on where
it was stopped. Cost: 128 runs a data set.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from tabulate import tabulate

from psilon_bench.records.places import records_in
from psilon_bench.records.run_json import RunDict, read_run

LAM, LR = (1e-5, 1e-1), (1e-4, 1e-1)
RUN = (sys.executable, "-c", "from psilon_bench.cli.run import main; main()", "-m")
RESULTS = "results/search_figures"


def spread(ends: tuple[float, float], number: int) -> str:
    """Return so many values between two ends, evenly spaced on a logarithmic scale, as a command line has them."""
    return ",".join(f"{value:.4g}" for value in np.geomspace(*ends, number))


def arguments(way: str, trials: int, batch: int) -> list[str]:
    """Return what makes a sweep a search or a grid; the grid has as many settings where `trials` is a square."""
    if way == "grid":
        side = round(trials**0.5)
        return [f"reg.lam={spread(LAM, side)}", f"optimizer.lr={spread(LR, side)}"]
    space = [f"{key}=tag(log,interval({low},{high}))" for key, (low, high) in (("reg.lam", LAM), ("optimizer.lr", LR))]
    return ["hydra/sweeper=optuna", f"hydra.sweeper.n_trials={trials}", f"hydra.sweeper.batch_size={batch}", *space]


def best_run(name: str) -> RunDict:
    """Return the finished run with the lowest validation loss; its test loss is read after that choice."""
    runs = [run for record in records_in(Path(RESULTS, name)) if (run := read_run(record))]
    return min((run for run in runs if run["status"] == "finished"), key=lambda run: float(run["metrics"]["val/loss"]))


def row(dataset: str, way: str, asked: argparse.Namespace) -> list[str | float]:
    """Run one sweep, and return its row of the table."""
    name = f"{dataset}_{way}"
    common = [f"dataset={dataset}", f"trainer.epochs={asked.epochs}", f"name={name}", f"results_dir={RESULTS}"]
    started = time.perf_counter()
    command = [*RUN, *common, "tracking=none", *arguments(way, asked.trials, asked.batch), *asked.override]
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
    seconds, run = time.perf_counter() - started, best_run(name)
    chosen = f"lam={run['params']['reg.lam']:.3g} lr={run['params']['optimizer.lr']:.3g}"
    return [dataset, way, run["metrics"]["val/loss"], run["metrics"]["test/loss"], chosen, seconds]


def main() -> None:
    """Print the table of all data sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--override", action="append", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args()
    rows = []
    for dataset in asked.datasets:
        search, grid = (row(dataset, way, asked) for way in ("search", "grid"))
        winner = "tie" if search[2] == grid[2] else "search" if float(search[2]) < float(grid[2]) else "grid"
        rows += [[*search, winner], [*grid, ""]]
    head = ["data set", "way", "best val/loss", "test/loss of it", "setting", "seconds", "lower val/loss"]
    print(tabulate(rows, head, floatfmt=".4g"))


if __name__ == "__main__":
    main()
