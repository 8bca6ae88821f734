"""Speed of PathProx: what the prox and the balance add to a training step of the factorised MLP-3-400, batches of 200.

    python scripts/bench_pathprox.py [--blocks 15] [--steps 20]

Milliseconds a step; the contestants take turns in short blocks, so that a machine whose speed drifts slows all of them;
a row is the median over blocks, a ratio the median of the ratios. The bare products are those of a step, forward
and backward, with nothing around them. One process, torch's own number of threads.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable

import torch
from hydra import compose, initialize_config_dir
from rich.console import Console
from rich.table import Table

from psilon_bench.config import CONF, check
from psilon_bench.data.task import Split, Task
from psilon_bench.record import processor
from psilon_bench.runner import Prepared, build_fit

COMMON = ["model=mlp_factorized", "optimizer=sgd", "scheduler=constant", "trainer.batch_size=200", "hardware=cpu"]
WAYS = {
    "no regularizer": ["reg=none"],
    "PathProx": ["reg=pathprox"],
    "PathProx without balance": ["reg=pathprox", "reg.balance=false"],
    "weight decay by gradient": ["reg=l2", "reg.scale=0.5"],
    "unit path norm by gradient": ["reg=unit_path_norm"],
}
PRODUCTS = "bare matrix products"


def images() -> Task:
    """A thousand rows of 784 random numbers in ten classes."""
    split = Split(torch.randn(1000, 784), torch.randint(0, 10, (1000,)))
    names, classes = [f"x{i}" for i in range(784)], [str(i) for i in range(10)]
    return Task(
        "random", "multiclass", split, split, split, names, 10, classes, 0.0, 1.0, "y", None, "here", "none", "0" * 64
    )


def stepper(overrides: list[str], task: Task) -> Callable[[int], None]:
    """A function that takes so many training steps."""
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        config = check(compose("config", [*COMMON, *overrides]))
    torch.manual_seed(0)
    model = config.model.build(num_features=784, num_outputs=10, input_shape=(784,))
    fit = build_fit([Prepared(config, task, model)])
    batches = itertools.chain.from_iterable(fit.batches.epoch() for _ in itertools.count())

    def take(steps: int) -> None:
        for x, y in itertools.islice(batches, steps):
            fit.train_step(x, y)

    return take


def products() -> Callable[[int], None]:
    """The matrix products of a step: per layer one forward and two backward, but one for the inputs of the first."""
    widths = [784, 400, 400, 400, 400, 400, 10]
    layers = [(torch.randn(200, i), torch.randn(o, i), torch.randn(200, o)) for i, o in itertools.pairwise(widths)]

    def take(steps: int) -> None:
        for _ in range(steps):
            for index, (x, weight, gradient) in enumerate(layers):
                x @ weight.T
                gradient.T @ x
                if index:
                    gradient @ weight

    return take


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=15)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)  # as psilon-run sets it
    task = images()
    ways = {name: stepper(overrides, task) for name, overrides in WAYS.items()} | {PRODUCTS: products()}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for block in range(arguments.blocks + 2):  # the first two warm up
        for name, take in ways.items():
            started = time.perf_counter()
            take(arguments.steps)
            if block > 1:
                times[name].append(1000 * (time.perf_counter() - started) / arguments.steps)
    table = Table(title=f"MLP-3-400 factorised, batch 200, float32; {processor()}")
    for column in ("way", "ms a step", "/ no regularizer", "/ bare products"):
        table.add_column(column)
    for name, own in times.items():
        ratios = [
            f"{statistics.median(a / b for a, b in zip(own, times[other], strict=True)):.3f}"
            for other in ("no regularizer", PRODUCTS)
        ]
        table.add_row(name, f"{statistics.median(own):.2f}", *ratios)
    Console(width=110).print(table)
    print("targets: PathProx at most 1.10 times no regularizer, and 1.4 times the bare products")


if __name__ == "__main__":
    main()
