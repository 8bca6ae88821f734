"""What an exported compact network is worth: its size, what pruning cost, and the time of a row beside a forest.

    python scripts/export_figures.py [--datasets breast_cancer,361072] [--seeds 3] [--results results] [OVERRIDE ...]

For each data set (an option of the group dataset, or an OpenML task id, of which at most 4000 rows are taken) a P-Net
of 3 x 500 units is trained and pruned for each seed. A row has means and standard deviations over seeds: the size of
the ONNX file of the compact network and of model.pt, their ratio, the change of the validation loss by the pruning, and
medians over 2000 calls of the time of a row in onnxruntime (one thread) and in scikit-learn's forest of 100 trees. What
was trained is not trained again.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from psilon_bench.data.raw_rows import raw_rows
from psilon_bench.export.equality import feeds
from psilon_bench.export.finished_run import FinishedRun, finished_run, roles_of
from psilon_bench.export.onnx_model import onnx_bytes
from psilon_bench.export.program import program_of
from psilon_bench.export.runtimes import onnx_session
from psilon_bench.records import places

RUN = (sys.executable, "-c", "from psilon_bench.cli.run import main; main()")
CALLS, FOREST_CALLS = 2000, 200  # a row in a forest takes milliseconds
PRUNED = ("reg.lam=2e-2", "pruner=l1_projection", "pruner.strength=null", "pruner.steps=1000", "trainer.epochs=400")
COLUMNS = ("onnx kB", "model.pt kB", "ratio %", "loss change %", "onnx us", "forest us", "forest / onnx")


def train(name: str, seeds: int, results: Path, overrides: list[str]) -> list[FinishedRun]:
    """Train what is missing, and return the finished runs."""
    openml = ["dataset=openml", f"dataset.task_id={name}", "dataset.max_rows=4000"]
    data = openml if name.isdigit() else [f"dataset={name}"]
    label = f"export_figures_{name}"
    every = ",".join(map(str, range(seeds)))
    common = [f"seed={every}", f"name={label}", f"results_dir={results}", "tracking=none", "trainer.eval_every=50"]
    subprocess.run([*RUN, "-m", *data, *PRUNED, *common, *overrides], check=False, stdout=subprocess.DEVNULL)
    found = [finished_run(folder) for folder in sorted(places.records_in(results / label))]
    assert found, f"{results / label} has no run"
    return found


def median_us(call: Callable[[], Any], calls: int) -> float:
    """Return the median time of a call in microseconds, after some that are not counted."""
    times = []
    for _ in range(calls + calls // 10):
        begin = time.perf_counter()
        call()
        times.append(1e6 * (time.perf_counter() - begin))
    return statistics.median(times[calls // 10 :])


def forest_us(run: FinishedRun, frame: pd.DataFrame, roles: dict[str, str]) -> float:
    """Return the time of a row in a forest that was fitted on the numbers of all rows."""
    params, rows = run.about.params, frame[list(roles)].to_numpy(float)
    target = params.get("dataset.target") or next(name for name in frame if name not in roles)
    kind = RandomForestRegressor if run.about.task.kind == "regression" else RandomForestClassifier
    forest = kind(n_estimators=100, n_jobs=1, random_state=0).fit(rows, frame[target])
    return median_us(lambda: forest.predict(rows[:1]), FOREST_CALLS)


def figures(run: FinishedRun) -> tuple[float, ...]:
    """Return the numbers of COLUMNS for one run."""
    saved = run.load("compact")
    program, roles = program_of(saved), roles_of(saved, run.folder)
    frame = raw_rows(run.config["dataset"], roles, run.about.task.checksum)
    assert frame is not None, "the data are not at hand"
    model = onnx_bytes(program, {})
    session, row = onnx_session(model), feeds(program, frame.head(1))
    whole = (run.folder / places.weights_name("model")).stat().st_size
    before, after = (run.about.metrics[key] for key in ("unpruned/val/loss", "val/loss"))
    own, forest = median_us(lambda: session.run(None, row), CALLS), forest_us(run, frame, roles)
    change = 100 * (after / before - 1)
    return len(model) / 1e3, whole / 1e3, 100 * len(model) / whole, change, own, forest, forest / own


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", default="breast_cancer,361072")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--results", type=Path, default=Path("results"))
    given, overrides = parser.parse_known_args()
    table = Table("data set", "n", *COLUMNS)
    for name in given.datasets.split(","):
        runs = train(name, given.seeds, given.results, overrides)
        values = list(zip(*(figures(run) for run in runs), strict=True))
        spread = [statistics.stdev(own) if len(own) > 1 else 0.0 for own in values]
        cells = [f"{statistics.fmean(own):.3g} ± {sd:.2g}" for own, sd in zip(values, spread, strict=True)]
        table.add_row(name, str(len(runs)), *cells)
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
