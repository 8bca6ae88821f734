"""Speed of many networks: stacked, one after the other, in processes of one thread each; and what `auto` chose.

    python scripts/bench_sweep.py [--blocks 7] [--whole 2]

Milliseconds per network and training step on breast_cancer-shaped data; the contestants take turns in short blocks, so
that a machine whose speed drifts slows all of them; a row is the median over blocks. Planning is timed as a person
calls it: psilon-run -m ... plan=true over 2000 runs. --whole adds whole sweeps of 8 runs of width 500, start-up and
records included, one after the other against side by side, so many times in turn (3 minutes each).
"""

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context

import torch
from contest import checked
from rich.console import Console
from rich.table import Table

from psilon_bench.config.schema import Config
from psilon_bench.machine.arithmetic import set_up
from psilon_bench.records.record import processor
from psilon_bench.run.checks import prepare
from psilon_bench.sweep.placement import Placement, place_groups
from psilon_bench.sweep.process_pool import ProcessPool
from psilon_bench.training.engines import build_trainer

PLAN = ["model=pnet,snet", "reg.lam=range(1,51)", "seed=range(20)", "model.hidden=16", "plan=true"]
WHOLE = ["seed=range(8)", "trainer.num_batches=1", "trainer.epochs=2000", "trainer.eval_every=200", "tracking=none"]


def configs(width: int, count: int) -> list[Config]:
    """Networks that differ in their seeds, on one split."""
    common = [f"model.hidden={width}", "dataset.split_seed=0", "trainer.num_batches=1"]
    common += ["trainer.epochs=100000"]  # so long that the start of processes does not count
    return [checked(*common, f"seed={seed}") for seed in range(count)]


def stepper(members: list[Config]) -> Callable[[int], None]:
    """A function that takes so many steps of the stack of these networks."""
    fit = build_trainer([prepare(config) for config in members])
    batches = fit.batches.endless()

    def take(steps: int) -> None:
        for batch in itertools.islice(batches, steps):
            fit.training_step(batch, 0)

    return take


@cache
def alone_in_process(width: int) -> Callable[[int], None]:
    """In a worker, once: its one thread, and the stepper of a network of its own."""
    torch.set_num_threads(1)
    set_up()
    return stepper(configs(width, 1))


def in_process(width: int, steps: int) -> None:
    """In a worker with one thread: steps of a network of its own."""
    alone_in_process(width)(steps)


def race(width: int, count: int, steps: int, blocks: int) -> dict[str, float]:
    """Median milliseconds per network and step of each way."""
    members = configs(width, count)
    together, alone, workers = stepper(members), stepper(members[:1]), torch.get_num_threads()
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        contest: dict[str, tuple[Callable[[], object], int]] = {
            "stacked": (lambda: together(steps), count),
            "serial": (lambda: alone(steps), 1),
            "processes": (lambda: list(pool.map(in_process, [width] * workers, [steps] * workers)), workers),
        }
        times: dict[str, list[float]] = {name: [] for name in contest}
        for block in range(blocks + 2):  # the first two warm up
            for name, (run, networks) in contest.items():
                started = time.perf_counter()
                run()
                if block > 1:
                    times[name].append(1000 * (time.perf_counter() - started) / steps / networks)
    return {name: statistics.median(values) for name, values in times.items()}


def chosen(width: int, count: int) -> Placement:
    """What hardware.plan=auto makes of these networks."""
    members = configs(width, count)
    with ProcessPool(members[0].hardware, count) as processes:
        return place_groups([members], processes)[0]


def seconds(*overrides: str) -> float:
    """Wall-clock time of a multirun, as a person starts it."""
    command = [sys.executable, "-c", "from psilon_bench.cli.run import main; main()", "-m", *overrides]
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        return time.perf_counter() - started


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--whole", type=int, default=0)
    arguments = parser.parse_args()
    set_up()  # as psilon-run does
    console = Console(width=140)
    table = Table(title=f"ms per network and step, full batch of 341 rows, float32; {processor()}")
    for column in ("networks", "stacked", "serial", "processes", "serial / stacked", "auto chose", "chosen / best"):
        table.add_column(column)
    for width, count, steps in ((16, 16, 200), (64, 16, 100), (500, 8, 10)):
        medians = race(width, count, steps, arguments.blocks)
        choice = chosen(width, count)
        way = "processes" if choice.workers else "stacked" if choice.size > 1 else "serial"
        values = [f"{value:.3f}" for value in medians.values()]
        ratios = medians["serial"] / medians["stacked"], medians[way] / min(medians.values())
        table.add_row(f"{count} of width {width}", *values, f"{ratios[0]:.2f}", str(choice), f"{ratios[1]:.2f}")
    console.print(table)
    console.print(f"plan of 2000 runs: {seconds(*PLAN):.1f} s (target 20)")
    for _ in range(arguments.whole):
        serial, processes = (seconds(*WHOLE, f"hardware.plan={plan}") for plan in ("serial", "processes"))
        console.print(f"8 runs of width 500, 2000 steps: one by one {serial:.0f} s, in processes {processes:.0f} s")


if __name__ == "__main__":
    main()
