"""Speed of a training step beside its floor and beside the usual way, and of whole commands: medians of one run.

    python scripts/bench.py [--blocks 20] [--json FILE]

The floor is the step's bare matrix products, same shapes and number, their results kept to the end of the step as a
backward pass needs them. The usual way is what a script of one's own does: DataLoader over a TensorDataset, normalised
W built in forward, Adam as it comes. Contestants take turns in short blocks, so that a machine whose speed drifts slows
all of them; a row is the median over blocks, a ratio is taken block by block.
"""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
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
from psilon_bench.tracking import Mirror, connect
from psilon_bench.training.stack import Stack
from psilon_bench.training.trainer import Fit

ROWS, BATCH, FEATURES, HIDDEN, DEPTH, LAM = 2000, 400, 28, 500, 3, 1e-3
Step = Callable[[], None]
Figures = dict[str, list[float]]


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
    settings = Trainer(
        epochs=1,
        num_batches=ROWS // BATCH,
        batch_size=None,
        eval_every=1,
        checkpoint_every=None,
        early_stopping=None,
        target_loss=None,
        schedule="epoch",
        select="last",
        prune_then_finetune=None,
    )
    fit = Fit(
        Stack([pnet()]),
        [synthetic_task()],
        [PathNorm()],
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


def plain() -> Step:
    """What torch itself makes of linear layers and ReLU without normalisation or regularizer, fused Adam, no loader."""
    task = synthetic_task()
    net = MLP(FEATURES, 1, hidden=HIDDEN, depth=DEPTH)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3, fused=True)
    x, y = task.train.x[:BATCH], task.train.y[:BATCH]

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(net(x), y).backward()
        optimizer.step()

    return step


def floor() -> Step:
    """The products of the P-Net's step."""
    return products(list(itertools.pairwise([FEATURES, *[HIDDEN] * DEPTH, 1])), BATCH)


def products(shapes: list[tuple[int, int]], batch: int) -> Step:
    """Forward, gradient of the weights, gradient of the inputs: three products a layer (in, out), two in the first."""
    layers = [(torch.randn(batch, a), torch.randn(b, a), torch.randn(batch, b)) for a, b in shapes]

    def step() -> None:
        results = [torch.mm(x, weight.T) for x, weight, _ in layers]
        for index, (x, weight, grad) in enumerate(layers):
            results.append(torch.mm(grad.T, x))
            if index:
                results.append(torch.mm(grad, weight))

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


def step_figures(blocks: int, per_block: int) -> Figures:
    """Milliseconds of a step, and the ratios."""
    steps = {"floor": floor(), "plain": plain(), "ours": ours(), "usual": usual()}
    times = race(steps, blocks, per_block)
    figures = {f"{name}, ms/step": values for name, values in times.items()}
    for a, b in (("ours", "floor"), ("plain", "floor"), ("usual", "ours")):
        figures[f"{a} / {b}"] = [x / y for x, y in zip(times[a], times[b], strict=True)]
    return figures


def command_figures(repeats: int) -> Figures:
    """Seconds of whole commands, in a folder of their own that is warm after the first."""
    with tempfile.TemporaryDirectory() as place:
        run(place, "trainer.epochs=1")
        around = [run(place, "trainer.epochs=1") for _ in range(repeats)]
        helps = [seconds(["--help"], place) for _ in range(repeats)]
        run(place, "trainer.epochs=1000", "trainer.eval_every=1", "model.hidden=16", "tracking=none", "name=long")
        (long,) = Path(place, "results", "long").glob("2*")
        tracking = [send(long, Path(place, f"{number}.db")) for number in range(repeats)]
    return {
        "psilon-run --help, s": helps,
        "psilon-run less its fit, breast_cancer, s": around,
        "MLflow: 1000 rows x 9 metrics and the files, s": tracking,
    }


def run(place: str, *overrides: str) -> float:
    """Seconds of a psilon-run less those of its fit."""
    wall = seconds(["hardware.device=cpu", *overrides], place)
    newest = max(Path(place, "results").glob("*/*/run.json"), key=lambda path: path.stat().st_mtime)
    return wall - json.loads(newest.read_text())["metrics"]["time/fit_s"]


def seconds(arguments: list[str], place: str) -> float:
    """Seconds of a psilon-run."""
    program = Path(sys.executable).with_name("psilon-run")
    started = time.perf_counter()
    subprocess.run([program, *arguments], cwd=place, check=True, capture_output=True)
    return time.perf_counter() - started


def send(record: Path, database: Path) -> float:
    """Seconds to mirror a record into a fresh sqlite file that is open already."""
    uri = f"sqlite:///{database}"
    client, experiment_id = connect(uri, "bench", str(database.parent))
    (record / "mlflow.json").unlink(missing_ok=True)
    started = time.perf_counter()
    Mirror(client, experiment_id, uri, record).send()
    return time.perf_counter() - started


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=20)
    parser.add_argument("--per-block", type=int, default=20, help="steps of a contestant in its turn")
    parser.add_argument("--repeats", type=int, default=5, help="of a whole command")
    parser.add_argument("--json", type=Path, help="write every value there")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    figures = step_figures(arguments.blocks, arguments.per_block)
    if arguments.repeats:
        figures |= command_figures(arguments.repeats)
    place = f"{processor()}, {torch.get_num_threads()} threads"
    table = Table(
        "what", "median", "min", "max", "n", title=f"P-Net 28-500-500-500-1, batch 400, Adam, float32; {place}"
    )
    for name, values in figures.items():
        table.add_row(name, *(f"{f(values):.2f}" for f in (statistics.median, min, max)), str(len(values)))
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": place, "figures": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
