"""Speed of one training step beside its floor and beside the usual way, as medians and ratios of one run.

    python scripts/bench.py [--steps 200] [--json FILE]

The floor is the step's bare matrix products, same shapes and number. The usual way is what a script of one's own does:
DataLoader over a TensorDataset, normalised W built in forward, Adam as it comes. The three take turns in short blocks,
so that a machine whose speed drifts slows all of them; a row is the median over blocks.
"""

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from psilon_bench.config import Trainer
from psilon_bench.data.task import Split, Task
from psilon_bench.models.mlp import MLP
from psilon_bench.record import processor
from psilon_bench.regularizers.path_norm import PathNorm
from psilon_bench.training.stack import Stack
from psilon_bench.training.trainer import Fit

ROWS, BATCH, FEATURES, HIDDEN, DEPTH, LAM = 2000, 400, 28, 500, 3, 1e-3
Step = Callable[[], None]


def synthetic_task() -> Task:
    """Random rows of the Higgs shape; speed does not depend on their values."""
    x = torch.randn(ROWS, FEATURES)
    split = Split(x, (x[:, :1] > 0).float())
    names = [f"x{index}" for index in range(FEATURES)]
    return Task(
        "synthetic", "binary", split, split, split, names, 1, ["0", "1"], 0.0, 1.0, "y", None, "random", "none", ""
    )


def pnet() -> MLP:
    """28-500-500-500-1."""
    return MLP(FEATURES, 1, hidden=HIDDEN, depth=DEPTH, normalization=1, share=True)


def ours() -> Step:
    """Our trainer's step on index batches."""
    settings = Trainer(epochs=1, num_batches=5, batch_size=None, eval_every=1, early_stopping=None, select="last")
    fit = Fit(
        Stack([pnet()]),
        [synthetic_task()],
        PathNorm().penalty,
        [LAM],
        [0],
        settings,
        lambda parameters: torch.optim.Adam(parameters, lr=2e-3, fused=True),
        lambda optimizer: torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0, total_iters=0),
    )
    batches = forever(fit.batches.epoch)
    return lambda: consume(fit.train_step(*next(batches)))


def forever(epoch: Callable[[], Iterator[tuple[Tensor, Tensor]]]) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of epoch after epoch."""
    while True:
        yield from epoch()


def consume(values: object) -> None:
    """Drop a result."""


class BuiltLinear(nn.Module):
    """W = g v / ||v||_1 built at every call."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.v, self.g, self.bias = (nn.Parameter(p.detach().clone()) for p in (layer.v, layer.g, layer.bias))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.g[:, None] * self.v / self.v.abs().sum(1, keepdim=True), self.bias)


def usual() -> Step:
    """A script of one's own."""
    task = synthetic_task()
    layers = [BuiltLinear(layer) for layer in pnet().layers]
    net = nn.Sequential(*[part for layer in layers[:-1] for part in (layer, nn.ReLU())], layers[-1])
    loader = DataLoader(TensorDataset(task.train.x, task.train.y), batch_size=BATCH, shuffle=True)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    batches = forever(lambda: iter(loader))

    def step() -> None:
        x, y = next(batches)
        penalty = torch.cat([layer.g for layer in layers[:-1]]).abs().prod() * layers[-1].g.abs().sum()
        loss = nn.functional.binary_cross_entropy_with_logits(net(x), y) + LAM * penalty
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def floor() -> Step:
    """Forward, gradient of the weights, gradient of the inputs: three products a layer, two in the first."""
    widths = [FEATURES, *[HIDDEN] * DEPTH, 1]
    layers = [(torch.randn(BATCH, a), torch.randn(b, a), torch.randn(BATCH, b)) for a, b in itertools.pairwise(widths)]

    def step() -> None:
        for index, (x, weight, grad) in enumerate(layers):
            torch.mm(x, weight.T)
            torch.mm(grad.T, x)
            if index:
                torch.mm(grad, weight)

    return step


def race(steps: dict[str, Step], blocks: int, per_block: int) -> dict[str, list[float]]:
    """Milliseconds a step of each contestant, one figure per block; the contestants take turns."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for block in range(blocks + 1):  # the first block warms up
        for name, step in steps.items():
            started = time.perf_counter()
            for _ in range(per_block):
                step()
            if block:
                times[name].append(1000 * (time.perf_counter() - started) / per_block)
    return times


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=20)
    parser.add_argument("--per-block", type=int, default=20, help="steps of a contestant in its turn")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    times = race({"floor": floor(), "ours": ours(), "usual": usual()}, arguments.blocks, arguments.per_block)
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratios = {
        "ours / floor": [a / b for a, b in zip(times["ours"], times["floor"], strict=True)],
        "usual / ours": [a / b for a, b in zip(times["usual"], times["ours"], strict=True)],
    }
    table = Table(
        title=f"P-Net 28-500-500-500-1, batch 400, Adam, float32; {processor()}, {torch.get_num_threads()} threads"
    )
    for column in ("what", "median", "min", "max"):
        table.add_column(column)
    for name, values in times.items():
        table.add_row(f"{name}, ms/step", *(f"{f(values):.2f}" for f in (statistics.median, min, max)))
    for name, values in ratios.items():
        table.add_row(name, *(f"{f(values):.2f}" for f in (statistics.median, min, max)))
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps({"ms": medians, "ratios": ratios}, indent=2) + "\n")


if __name__ == "__main__":
    main()
