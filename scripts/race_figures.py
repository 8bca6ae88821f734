"""A race beside the whole grid: time, steps saved, and whether both choose the same setting.

    python scripts/race_figures.py [--datasets breast_cancer,361072,...] [--results results] [OVERRIDE ...]

For each data set (an option of the group dataset, or an OpenML task id under dataset.protocol=psilon) 13 lambdas x 5
seeds are trained twice: as a grid, and with race=true. A row has the wall time and the processor time of both commands
(one run of each, start-up included; the latter hardly depends on what else the machine does), the training steps of
members that the race saved, the setting that each chooses by mean val/loss over seeds, and how much worse the race's
choice is in the grid's numbers, in standard errors of the paired difference. What was trained is not trained again; the
times are of the command that trained it all.
"""

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from psilon_bench.report.grouping import groups_of
from psilon_bench.report.metric import Metric
from psilon_bench.report.records import Run, scan
from psilon_bench.report.selection import choose

LAMS = "5e-5,1e-4,2.5e-4,5e-4,1e-3,2.5e-3,5e-3,1e-2,2.5e-2,5e-2,1e-1,2.5e-1,5e-1"
METRIC = Metric("val/loss", "min")
RUN = (sys.executable, "-c", "from psilon_bench.cli.run import main; main()")


def dataset_of(name: str) -> list[str]:
    """Return the overrides that choose a data set."""
    openml = ["dataset=openml", f"dataset.task_id={name}", "dataset.protocol=psilon"]
    return openml if name.isdigit() else [f"dataset={name}"]


def seconds() -> tuple[float, float]:
    """Return the wall time, and the processor time of all commands so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter(), used.ru_utime + used.ru_stime


def train(name: str, results: Path, overrides: list[str], race: bool) -> tuple[Path, list[float] | None]:
    """Train what is missing; return the folder, and wall and processor seconds of the command that trained it all."""
    label = f"race_figures_{name}_{'race' if race else 'grid'}"
    folder = results / label
    times = results / f"{label}.json"
    command = [*RUN, "-m", *dataset_of(name), f"reg.lam={LAMS}", "seed=range(5)", "tracking=none", *overrides]
    fresh, started = not folder.exists(), seconds()
    subprocess.run([*command, f"name={label}", f"results_dir={results}", f"race={race}"], check=False)
    if fresh:
        times.write_text(json.dumps([end - start for start, end in zip(started, seconds(), strict=True)]))
    return folder, json.loads(times.read_text()) if times.exists() else None


def chosen(folder: Path) -> float:
    """Return the lambda with the best mean validation loss."""
    (group,), _ = groups_of(scan([folder]).runs)
    setting = choose(group, METRIC).setting
    assert setting is not None, f"{folder} has no finished run"
    return float(setting.runs[0].params["reg.lam"])


def losses(runs: list[Run], lam: float) -> dict[int, float]:
    """Return val/loss of a lambda by seed."""
    return {
        run.seed: run.metrics["val/loss"]
        for run in runs
        if run.params["reg.lam"] == lam and run.status == "finished" and "val/loss" in run.metrics
    }


def regret(runs: list[Run], lam: float, best: float) -> str:
    """Return how much larger the grid's mean loss of `lam` is than that of `best`, in standard errors."""
    if lam == best:
        return "0"
    first, second = losses(runs, lam), losses(runs, best)
    gaps = [first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())]
    error = statistics.stdev(gaps) / math.sqrt(len(gaps)) if len(gaps) > 1 else math.nan
    return f"{statistics.mean(gaps):+.3g} ({statistics.mean(gaps) / error:.1f} SE)"


def saved(grid: list[Run], race: list[Run]) -> float:
    """Return the share of the grid's training steps, over all members, that the race did not take."""
    grid_steps, race_steps = (sum(run.metrics.get("step", 0) for run in runs) for runs in (grid, race))
    return 1 - race_steps / grid_steps


def row_of(name: str, results: Path, overrides: list[str]) -> list[str]:
    """Return the row of a data set."""
    (grid, grid_s), (race, race_s) = (train(name, results, overrides, race) for race in (False, True))
    grid_runs, race_runs = scan([grid]).runs, scan([race]).runs
    best, lam = chosen(grid), chosen(race)
    shown = ["-" if both is None else f"{both[0]:.0f} / {both[1]:.0f}" for both in (grid_s, race_s)]
    return [name, *shown, f"{saved(grid_runs, race_runs):.0%}", f"{best:g}", f"{lam:g}", regret(grid_runs, lam, best)]


def main() -> None:
    """Train, and print the table as far as it has come after each data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", default="breast_cancer,361072,361077,361065")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("overrides", nargs="*", help="of both commands, such as model.hidden=100 trainer.epochs=300")
    asked = parser.parse_args()
    table = Table(
        "data set", "grid s / CPU s", "race s / CPU s", "steps saved", "grid's lambda", "race's lambda", "val/loss"
    )
    for name in asked.datasets.split(","):
        table.add_row(*row_of(name, asked.results.absolute(), asked.overrides))
        Console().print(table)


if __name__ == "__main__":
    main()
