"""Speed of many runs: a sweep of tiny networks from the command to MLflow, and the report of a thousand runs.

    python scripts/bench.py --only none --repeats 0 --sweep 1000 --report 1000

Both are whole commands with one thread, timed once: 1000 runs take some 5 minutes, their report half a minute. CPU
seconds are of all processes of a command; they hardly depend on what else the machine does, wall-clock seconds do.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
from contest import Figures

from psilon_bench.records.history import append_row, read_rows
from psilon_bench.records.places import HISTORY, RUN_JSON, records_in
from psilon_bench.records.run_json import read_raw
from psilon_bench.tracking.bulk import send_ended
from psilon_bench.tracking.experiment import connect

SMALL = [
    "dataset=breast_cancer",
    "model=pnet",
    "model.hidden=16",
    "trainer.epochs=20",
    "reg.lam=1e-4,3e-4,1e-3,3e-3,1e-2",
]
EVALUATIONS = ["trainer.eval_every=1"]  # 20 rows a run
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
WINDOW = 50  # runs over which the time of a run is averaged


def timed(place: str, program: str, *arguments: str) -> tuple[float, float, float]:
    """Return the seconds of a command by the wall and of all its processors, and the most memory of a process, MB."""
    path, started = Path(sys.executable).with_name(program), time.perf_counter()
    with subprocess.Popen([path, *arguments], cwd=place, stdout=subprocess.DEVNULL, env=os.environ | ONE_THREAD) as run:
        _, status, used = os.wait4(run.pid, 0)  # and of the processes that it has waited for
        run.returncode = os.waitstatus_to_exitcode(status)
    if run.returncode:
        raise subprocess.CalledProcessError(run.returncode, run.args)
    return time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def sweep_figures(runs: int) -> Figures:
    """A sweep of so many runs, a multiple of 5, with MLflow in an sqlite file and without."""
    found: Figures = {}
    sweep = ["-m", *SMALL, *EVALUATIONS, f"seed=range({runs // 5})", "name=many"]
    for way, overrides in {"MLflow in sqlite": [], "tracking=none": ["tracking=none"]}.items():
        with tempfile.TemporaryDirectory() as place:
            wall, cpu, memory = timed(place, "psilon-run", *sweep, *overrides)
            title = f"sweep of {runs} nets of width 16, {way}"
            found |= {f"{title}, s": [wall], f"{title}, CPU s": [cpu], f"{title}, MB": [memory]}
            records = list(records_in(Path(place, "results", "many")))
            found |= {f"{title}, {name}": [value] for name, value in growth(records)}
            if overrides:
                found["MLflow: rows / s of many ended runs"] = [rows_per_second(records, Path(place, "fresh.db"))]
    return found


def growth(records: list[Path]) -> Iterator[tuple[str, float]]:
    """Yield what the last runs took in a sweep, as a multiple of runs 50 to 150, by when each was ended."""
    ended = sorted(datetime.fromisoformat(read_raw(record)["times"]["ended"]).timestamp() for record in records)
    if len(ended) >= 150 + WINDOW:
        early, late = ended[150] - ended[50], ended[-1] - ended[-1 - WINDOW]
        yield "ms to end a run at run 100", 1000 * early / 100
        yield "a run at the end / at run 100", late / WINDOW / (early / 100)


def rows_per_second(records: list[Path], database: Path) -> float:
    """Return how many rows of histories a second arrive in a fresh sqlite file, with all else of their records."""
    experiment = connect(f"sqlite:///{database}", "bench", str(database.parent))
    started = time.perf_counter()
    sent = list(send_ended(experiment, records))
    seconds = time.perf_counter() - started
    assert len(sent) == len(records)
    return sum(len(read_rows(record / HISTORY)) for record in records) / seconds


def report_figures(runs: int) -> Figures:
    """A report of so many runs, 50 to a data set (2 models x 5 lambdas x 5 seeds), made of one real run."""
    with tempfile.TemporaryDirectory() as place:
        timed(place, "psilon-run", *SMALL[:4], *EVALUATIONS, "tracking=none", "name=one")
        (original,) = records_in(Path(place, "results", "one"))
        made_up(original, Path(place, "many"), runs)
        wall, cpu, _ = timed(place, "psilon-report", "many", "--no-attach")
    return {f"report of {runs} runs over {runs // 50} data sets, s": [wall], f"report of {runs} runs, CPU s": [cpu]}


def made_up(original: Path, folder: Path, runs: int) -> None:
    """Write records like this one, without its files of networks, of other data sets, models, lambdas and seeds."""
    run, rows, draws = read_raw(original), read_rows(original / HISTORY), np.random.default_rng(0)
    for number in range(runs):
        seed, lam, model, dataset = (number // size % count for size, count in ((1, 5), (5, 5), (25, 2), (50, runs)))
        record, scale = folder / f"{number:06}", 1 + draws.random()
        record.mkdir(parents=True)
        own = {"seed": seed, "reg.lam": 10.0 ** (lam - 4), "model.name": ("pnet", "snet")[model]}
        own |= {"dataset.name": f"data {dataset}", "dataset.split_seed": seed}
        losses = {name: value * scale for name, value in run["metrics"].items()}
        task = run["task"] | {"name": f"data {dataset}", "checksum": f"{dataset:064x}"}
        about = {"title": f"{own['model.name']} pathnorm", "seed": seed, "params": run["params"] | own, "task": task}
        about |= {"metrics": losses, "fingerprint": f"{number:016x}", "identity": f"{number:016x}"}
        (record / RUN_JSON).write_text(json.dumps(run | about), encoding="utf-8")
        for row in rows:
            append_row(record / HISTORY, row | {"val/loss": row["val/loss"] * scale})
