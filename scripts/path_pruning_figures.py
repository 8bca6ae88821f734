"""Do paths or magnitudes say which weights may go? The zeros that leave the test loss as it is, on four tasks.

    python scripts/path_pruning_figures.py [--seeds 5] [OVERRIDE ...]

P-Nets of width 64 are trained with reg=pathnorm, lambda 1e-3, and pruned without fine-tuning to 0, 2, ... 100 % zeros,
in the order of |w| dPhi/d|w| and in that of |w|. A row has the largest share of zeros up to which the test loss (cross
entropy, or mean squared error) stays within 1 % of that of the network as trained, mean and standard deviation over
seeds, in how many runs paths keep at least as many, and the share that a promise of .01 gives (pruner=path). Cost: 2
minutes of processor time.
"""

import argparse
import copy
import statistics
from collections.abc import Iterator
from typing import Any

import torch
from contest import checked
from rich.console import Console
from rich.table import Table
from torch import Tensor

from psilon_bench.data.task import Task
from psilon_bench.metrics import prediction
from psilon_bench.models.path_change import largest_inputs
from psilon_bench.pruning.path import PathPruning, matrices, order_of
from psilon_bench.run.checks import prepare
from psilon_bench.training.engines import build_trainer

TASKS = ("breast_cancer", "wine", "digits", "diabetes")
SETTINGS = ("model=pnet", "model.hidden=64", "reg=pathnorm", "reg.lam=1e-3")
SHARES = [step / 50 for step in range(51)]
EQUAL = 1.01  # times the loss before


def trained(dataset: str, seeds: int, overrides: list[str]) -> Iterator[tuple[Any, Task]]:
    """Train networks, one by one for splits may differ in their inputs; yield them as plain ones with their tasks."""
    for seed in range(seeds):
        member = prepare(checked(f"dataset={dataset}", *SETTINGS, f"seed={seed}", *overrides))
        trainer = build_trainer([member])
        trainer.run(lambda *_: None)
        trainer.select()
        network: Any = trainer.stack.network(0)
        yield network.plain(), member.task


def pruned(network: Any, order: Tensor, share: float) -> Any:
    """Return a copy with this share of the weights at 0, the first ones in the order."""
    other = copy.deepcopy(network)
    keep = torch.ones(len(order)).index_fill_(0, order[: round(share * len(order))], 0)
    with torch.no_grad():
        for weight, own in zip(matrices(other), keep.split([w.numel() for w in matrices(other)]), strict=True):
            weight.mul_(own.view_as(weight))
    return other


@torch.no_grad()
def shares_of(network: Any, task: Task) -> Iterator[float]:
    """Yield the shares of zeros at equal loss by paths and by magnitudes, and the share with a promise of .01."""

    def loss(other: Any) -> float:
        return prediction.loss(task.kind, other(task.test.x), task.test.y).item()

    exact = copy.deepcopy(network).double()
    by_path = order_of(matrices(exact), exact.slope_layers(), largest_inputs(task.train.x))
    by_size = torch.cat([weight.abs().flatten() for weight in matrices(network)]).argsort(stable=True)
    for order in (by_path, by_size):
        within = [loss(pruned(network, order, share)) <= EQUAL * loss(network) for share in SHARES]
        yield SHARES[within.index(False) - 1] if False in within else 1.0
    PathPruning(0.01).prune(network, task.train.x)
    yield torch.cat([(weight == 0).flatten() for weight in matrices(network)]).double().mean().item()


def main() -> None:
    """Train, prune, and print the table as far as it has come after each task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("overrides", nargs="*", help="of all runs, such as model=psilon_resnet")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    table = Table("task", "n", "by paths", "by magnitude", "paths keep as many", "promise of .01")
    for dataset in TASKS:
        rows = [tuple(shares_of(*one)) for one in trained(dataset, asked.seeds, asked.overrides)]
        columns = [f"{statistics.fmean(own):.2f} ± {statistics.stdev(own):.2f}" for own in zip(*rows, strict=True)]
        as_many = sum(path >= size for path, size, _ in rows)
        table.add_row(dataset, str(len(rows)), *columns[:2], f"{as_many} of {len(rows)}", columns[2])
        Console().print(table)


if __name__ == "__main__":
    main()
