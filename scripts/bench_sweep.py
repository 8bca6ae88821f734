"""Speed of many networks: stacked, one after the other, in processes of one thread each; and what `auto` chose.

    python scripts/bench_sweep.py [--blocks 7]

Milliseconds per network and training step on breast_cancer-shaped data; the contestants take turns in short blocks, so
that a machine whose speed drifts slows all of them; a row is the median over blocks. Planning is timed as a person
calls it: psilon-run -m ... plan=true over 2000 runs.
"""

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch
from hydra import compose, initialize_config_dir
from rich.console import Console
from rich.table import Table

from psilon_bench.config import CONF, Config, check
from psilon_bench.record import processor
from psilon_bench.runner import build_fit, prepare
from psilon_bench.stacking import choose

GRID = ["-m", "model=pnet,snet", "reg.lam=range(1,51)", "seed=range(20)", "model.hidden=16", "plan=true"]


def configs(width: int, count: int) -> list[Config]:
    """Networks that differ in their seeds, on one split."""
    common = [f"model.hidden={width}", "dataset.split_seed=0", "hardware=cpu", "tracking=none", "trainer.num_batches=1"]
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return [check(compose("config", [*common, f"seed={seed}"])) for seed in range(count)]


def stepper(members: list[Config]):
    """A function that takes so many steps of the stack of these networks."""
    fit = build_fit([prepare(config) for config in members])
    batches = itertools.chain.from_iterable(fit.batches.epoch() for _ in itertools.count())

    def take(steps: int) -> None:
        for x, y in itertools.islice(batches, steps):
            fit.train_step(x, y)

    return take


alone_in_process = None


def in_process(width: int, steps: int) -> None:
    """In a worker with one thread: steps of a network of its own."""
    global alone_in_process
    if alone_in_process is None:
        torch.set_num_threads(1)
        alone_in_process = stepper(configs(width, 1))
    alone_in_process(steps)


def race(width: int, count: int, steps: int, blocks: int) -> dict[str, float]:
    """Median milliseconds per network and step of each way."""
    members = configs(width, count)
    together, alone, workers = stepper(members), stepper(members[:1]), torch.get_num_threads()
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        ways = {
            "stacked": (lambda: together(steps), count),
            "serial": (lambda: alone(steps), 1),
            f"{workers} processes": (lambda: list(pool.map(in_process, [width] * workers, [steps] * workers)), workers),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for block in range(blocks + 2):  # the first two warm up
            for name, (run, networks) in ways.items():
                started = time.perf_counter()
                run()
                if block > 1:
                    times[name].append(1000 * (time.perf_counter() - started) / steps / networks)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=7)
    blocks = parser.parse_args().blocks
    console = Console(width=140)
    table = Table(title=f"ms per network and step, full batch of 341 rows, float32; {processor()}")
    for column in ("networks", "stacked", "serial", "processes", "serial / stacked", "auto chose", "chosen / best"):
        table.add_column(column)
    for width, count, steps in ((16, 16, 200), (64, 16, 100), (500, 8, 10)):
        medians = race(width, count, steps, blocks)
        size = choose(configs(width, count)).size
        chosen = medians["stacked" if size > 1 else "serial"]
        values = [f"{value:.3f}" for value in medians.values()]
        ratio = medians["serial"] / medians["stacked"]
        what = f"stacks of {size}" if size > 1 else "serial"
        row = [f"{count} of width {width}", *values, f"{ratio:.2f}", what, f"{chosen / min(medians.values()):.2f}"]
        table.add_row(*row)
    console.print(table)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        command = [sys.executable, "-c", "from psilon_bench.cli import run; run()", *GRID]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        console.print(f"plan of 2000 runs: {time.perf_counter() - started:.1f} s (target 20)")


if __name__ == "__main__":
    main()
