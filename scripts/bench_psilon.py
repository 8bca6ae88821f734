"""Speed of the residual net beside its bare matrix products, of the projection, and of what pruning adds to a step.

    python scripts/bench_psilon.py [--blocks 12]

Milliseconds; contestants take turns in short blocks, a row is the median over blocks, a ratio is taken block by block.
"""

import argparse
import statistics

import torch
from bench import Step, products, race
from rich.console import Console
from rich.table import Table
from torch import nn

from psilon_bench.models.crelu_resnet import CReLUResNet
from psilon_bench.models.mlp import MLP
from psilon_bench.pruning import simplex
from psilon_bench.record import processor

LAM = 1e-4


def trained(model: MLP | CReLUResNet, rows: int, features: int, outputs: int) -> Step:
    """A training step: cross-entropy, path norm, fused Adam."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    x, y = torch.randn(rows, features), torch.randint(0, max(2, outputs), (rows,))
    targets = nn.functional.one_hot(y, max(2, outputs))[:, -outputs:].float()

    def step() -> None:
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(model(x), targets)
        (loss + LAM * model.path_norm()).backward()
        optimizer.step()

    return step


def pnet(blend: float) -> Step:
    """28-500-500-500-1, batch 400, with the pruner at work where blend > 0."""
    model = MLP(28, 1, hidden=500, depth=3, normalization=1, share=True)
    for layer in model.norm_layers():
        layer.blend, layer.strength = blend, 1.2
    return trained(model, 400, 28, 1)


def resnet() -> Step:
    """784 inputs, 10 hidden layers of width 500, 10 outputs, batch 200."""
    model = CReLUResNet(784, 10, hidden=500, depth=10, normalization=1, share=True)
    for block in model.blocks:
        nn.init.constant_(block.g, 0.1)
    return trained(model, 200, 784, 10)


def resnet_floor() -> Step:
    """Its bare products."""
    return products([(784, 500), *[(1000, 500)] * 9, (1000, 10)], 200)


def projection() -> Step:
    """Of a 500 x 500 layer at its start."""
    lengths = nn.init.orthogonal_(torch.empty(500, 500)).abs()
    return lambda: consume(simplex.project(lengths))


def consume(value: object) -> None:
    """Drop a result."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=12)
    blocks = parser.parse_args().blocks
    torch.manual_seed(0)
    steps = {
        "residual net, step": resnet(),
        "its bare products": resnet_floor(),
        "P-Net, step": pnet(0.0),
        "P-Net, step while it is pruned": pnet(0.5),
        "projection, 500 x 500": projection(),
    }
    times = race(steps, blocks, per_block=8)
    pairs = {"residual / products": list(steps)[:2], "pruned / not": [list(steps)[3], list(steps)[2]]}
    rows = times | {name: [x / y for x, y in zip(times[a], times[b], strict=True)] for name, (a, b) in pairs.items()}
    table = Table("what", "median", "min", "max", "n", title=f"{processor()}, {torch.get_num_threads()} threads")
    for name, values in rows.items():
        table.add_row(name, *(f"{f(values):.2f}" for f in (statistics.median, min, max)), str(len(values)))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
