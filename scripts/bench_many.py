"""Speed of many runs: a sweep of tiny networks from the command to MLflow, and the report of a thousand runs.

    python scripts/bench.py --only none --repeats 0 --sweep 1000 --report 1000

Both are whole commands with one thread, timed once: 1000 runs take some 4 minutes, their report half a minute. CPU
seconds are of all processes of a command; they hardly depend on what else the machine does, wall-clock seconds do.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import numpy as np
from contest import Figures, ratio

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
OWN_THREADS = {"OMP_NUM_THREADS": str(os.cpu_count())}
# a process of its own, for a new process counts the memory of the one that it was forked from
MEASURED = """
import json, resource, subprocess, sys, time
started = time.perf_counter()
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""
WINDOW = 50  # runs over which the time of a run is averaged


def timed(
    place: str, program: str, *arguments: str, variables: Mapping[str, str] = ONE_THREAD
) -> tuple[float, float, float]:
    """Return the seconds of a command by the wall and of all its processors, and the most memory of a process, MB."""
    command = [sys.executable, "-c", MEASURED, str(Path(sys.executable).with_name(program)), *arguments]
    done = subprocess.run(command, cwd=place, stdout=subprocess.PIPE, env=os.environ | variables, check=True, text=True)
    wall, cpu, memory = json.loads(done.stdout)
    return wall, cpu, memory


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


def busy_figures(repeats: int) -> Figures:
    """Milliseconds of a step of a tiny network, with nothing beside it and while one core is taken, in turns.

    The number of threads is the run's own choice (hardware.threads=auto).
    """
    names = {"with nothing beside it": False, "while one core is taken": True}
    taken: Figures = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as place:
        for number in range(2 * repeats):
            name = list(names)[number % 2]
            with busy_core(names[name]):
                long = ["trainer.epochs=300", "trainer.eval_every=300", "tracking=none", f"name=run{number}"]
                timed(place, "psilon-run", *SMALL[:3], *long, variables=OWN_THREADS)
            (record,) = records_in(Path(place, "results", f"run{number}"))
            taken[name].append(read_raw(record)["metrics"]["time/step_ms"])
    title, (quiet, busy) = "step of a net of width 16", taken.values()
    return {f"{title} {name}, ms": values for name, values in taken.items()} | {
        f"{title}: busy / quiet": ratio(busy, quiet)
    }


@contextmanager
def busy_core(busy: bool) -> Iterator[None]:
    """Keep one core at work with something else, if it is to be."""
    beside = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
    try:
        yield
    finally:
        if beside:
            beside.kill()
            beside.wait()


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
