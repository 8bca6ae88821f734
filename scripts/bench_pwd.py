"""Speed of p-norm decay beside a step without it and beside clones, and of a stack of diagonal linear networks.

    python scripts/bench_pwd.py [--blocks 15]

p-norm decay: a training step of a 784-500-500-10 net, batch 400, Adam, float32, with p = 0.5 and without it; then what
the decay alone does around a step, beside the usual way, which clones every weight before it. The grid: 5 alphas x 5
ratios x 10 seeds of diagonal linear networks, N = 100, M = 40, float64, as one stack and one alone, in iterations x
members a second. Contestants take turns in short blocks, a ratio is taken block by block. One process, torch's own
number of threads.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable

import torch
from contest import Figures, checked, random_task, ratio
from rich.console import Console
from rich.table import Table
from torch import nn

from psilon_bench.data.task import Task
from psilon_bench.machine.arithmetic import set_up
from psilon_bench.records.record import processor
from psilon_bench.regularizers.p_norm_decay import PNormDecay
from psilon_bench.run.checks import prepare
from psilon_bench.training.engines import build_trainer
from psilon_bench.training.member import Member

STEPS, LONE_STEPS, STACK_STEPS = 20, 60, 6  # in a block
P, STEP = 0.5, 1e-5
NET = ["model=mlp", "model.depth=2", "optimizer=adam", "scheduler=constant", "trainer.batch_size=400"]
ALPHAS, RATIOS = (0.001, 0.01, 0.1, 0.3, 1.0), (0.01, 0.03, 0.1, 0.3, 1.0)
Take = Callable[[], float]  # one block; what it measured


def steps_of(members: list[Member], steps: int) -> Take:
    """Seconds of a training step of these networks as one program."""
    fit = build_trainer(members)
    batches = fit.batches.endless()

    def take() -> float:
        started = time.perf_counter()
        for batch in itertools.islice(batches, steps):
            fit.training_step(batch, 0)
        return (time.perf_counter() - started) / steps

    return take


def net_steps(task: Task, *overrides: str) -> Take:
    """Of the 784-500-500-10 net."""
    config = checked(*NET, *overrides)
    torch.manual_seed(0)
    return steps_of([Member(config, task, config.model.build(num_features=784, num_outputs=10))], STEPS)


def weights() -> nn.ModuleList:
    """Linear layers 784-500-500-10 as they start."""
    torch.manual_seed(0)
    return nn.ModuleList([nn.Linear(784, 500), nn.Linear(500, 500), nn.Linear(500, 10)])


@torch.no_grad()
def ours(model: nn.Module) -> None:
    """What p-norm decay does before and after the optimizer's step."""
    decay, own = PNormDecay(P, None, "linear", ["biases", "gains", "norms"]), {"p": torch.tensor(P)}
    step = torch.tensor(STEP)
    decay.after_step(model, step, decay.before_step(model, step, **own), **own)


@torch.no_grad()
def clones(model: nn.Module) -> None:
    """The same by the formula, from clones of all weights."""
    matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    before = [matrix.clone() for matrix in matrices]
    for matrix, old in zip(matrices, before, strict=True):
        s = old.abs().pow(2 - P)
        matrix.mul_(s / (s + P * STEP))


def around_steps(decay: Callable[[nn.Module], None]) -> Take:
    """Seconds of the decay alone, on weights that every call finds as they start."""
    model, start = weights(), [parameter.detach().clone() for parameter in weights().parameters()]

    def take() -> float:
        seconds = 0.0
        for _ in range(STEPS):
            with torch.no_grad():
                for parameter, own in zip(model.parameters(), start, strict=True):
                    parameter.copy_(own)
            started = time.perf_counter()
            decay(model)
            seconds += time.perf_counter() - started
        return seconds / STEPS

    return take


def race(ways: dict[str, Take], blocks: int) -> Figures:
    """What each measures in its turns; the first two turns warm up."""
    found: Figures = {name: [] for name in ways}
    for block in range(blocks + 2):
        for name, take in ways.items():
            value = take()
            if block > 1:
                found[name].append(value)
    return found


def decay_figures(blocks: int) -> Figures:
    """Share and speed of p-norm decay."""
    task = random_task("multiclass", (784,), 10, 2000)
    ways = {
        "without": net_steps(task, "reg=none"),
        "with": net_steps(task, "reg=p_norm_decay", f"reg.p={P}", "reg.lam=1e-2"),
        "ours": around_steps(ours),
        "clones": around_steps(clones),
    }
    found = race(ways, blocks)
    added = [a - b for a, b in zip(found["with"], found["without"], strict=True)]
    return {
        "step without decay, ms": [1000 * value for value in found["without"]],
        "step with p-norm decay, ms": [1000 * value for value in found["with"]],
        "decay alone, ms": [1000 * value for value in found["ours"]],
        "decay by clones, ms": [1000 * value for value in found["clones"]],
        "decay adds to a step, %": [100 * value for value in ratio(added, found["without"])],
        "decay by clones / decay": ratio(found["clones"], found["ours"]),
    }


def grid_figures(blocks: int) -> Figures:
    """Throughput of the grid of figure 1 in iterations x members a second."""
    jobs = [
        ["+experiment=wn", f"seed={seed}", f"model.alpha={alpha}", f"model.ratio={ratio}"]
        for seed, alpha, ratio in itertools.product(range(10), ALPHAS, RATIOS)
    ]
    members = [prepare(checked(*job)) for job in jobs]
    middle = members[ALPHAS.index(0.1) * len(RATIOS)]
    found = race({"stack": steps_of(members, STACK_STEPS), "lone": steps_of([middle], LONE_STEPS)}, blocks)
    stack, lone = [len(members) / value for value in found["stack"]], [1 / value for value in found["lone"]]
    return {
        "diagonal nets one by one, iterations x members / s": lone,
        f"stack of {len(members)}, iterations x members / s": stack,
        "stack / one by one": ratio(stack, lone),
    }


def figures(blocks: int) -> Figures:
    """All, one value a block."""
    return decay_figures(blocks) | grid_figures(blocks)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=15)
    arguments = parser.parse_args()
    set_up()  # as psilon-run does
    table = Table("what", "median", "min", "max", "n", title=f"{processor()}, {torch.get_num_threads()} threads")
    for name, values in figures(arguments.blocks).items():
        table.add_row(name, *(f"{f(values):.4g}" for f in (statistics.median, min, max)), str(len(values)))
    Console(width=110).print(table)
    print("targets: the decay adds at most 10 %, is at least 2 x faster than by clones; stack / one by one at least 30")


if __name__ == "__main__":
    main()
