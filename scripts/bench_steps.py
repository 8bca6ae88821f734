"""Training steps of networks beside their floor and beside the usual way: the first table of scripts/bench.py."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import usual
from contest import Apart, Figures, Step, products, race, random_task, ratio, torchs_own_products, trained

from psilon_bench.data.task import Task

ADAM = ("optimizer=adam", "scheduler=constant", "reg.lam=1e-3")
SGD = ("optimizer=sgd", "scheduler=constant")


@dataclass
class Net:
    """A network with its task, batch and floor, and the usual way to write it where there is one."""

    task: Task
    batch: int
    overrides: tuple[str, ...]
    floor: Step | None
    usual: Callable[[], Any] | None = None
    per_block: int = 20


@cache
def nets() -> dict[str, Net]:
    """The rows of the first table."""
    higgs, images = random_task("binary", (28,), 1, 2000), random_task("multiclass", (784,), 10, 2000)
    cifar = random_task("multiclass", (3, 32, 32), 10, 64)

    def mlp(hidden: int, model: str, reg: str, q: int) -> Net:
        widths = [28, *[hidden] * 3, 1]
        overrides = (f"model={model}", f"reg={reg}", f"model.hidden={hidden}", *ADAM)
        per_block = 4 if hidden > 1000 else 20 if hidden > 100 else 60
        return Net(higgs, 400, overrides, products(widths, 400), partial(usual.BuiltMLP, widths, q), per_block)

    factorised = products([784, *[400] * 5, 10], 200)
    residual = products([784, *[500] * 10, 10], 200, read=[784, *[1000] * 10])
    return {
        "P-Net 28-500-500-500-1, batch 400": mlp(500, "pnet", "pathnorm", 1),
        "the same, width 16": mlp(16, "pnet", "pathnorm", 1),
        "the same, width 64": mlp(64, "pnet", "pathnorm", 1),
        "the same, width 128": mlp(128, "pnet", "pathnorm", 1),
        "the same, width 2000": mlp(2000, "pnet", "pathnorm", 1),
        "S-Net, width 500": mlp(500, "snet", "l2", 2),
        "P-Net without normalisation and regularizer": Net(
            higgs, 400, ("model=mlp", "reg=none", *ADAM), products([28, 500, 500, 500, 1], 400)
        ),
        "residual net 784, 10 x 500, 10, batch 200": Net(
            images,
            200,
            ("model=psilon_resnet", "reg=pathnorm", "model.hidden=500", "model.depth=10", *ADAM),
            residual,
            partial(usual.BuiltResNet, 784, 10, 500, 10),
            8,
        ),
        "factorised MLP-3-400, batch 200, PathProx": Net(
            images, 200, ("model=mlp_factorized", "reg=pathprox", *SGD), factorised
        ),
        "the same, no regularizer": Net(images, 200, ("model=mlp_factorized", "reg=none", *SGD), factorised),
        "VGG19, batch 32, PathProx": Net(cifar, 32, ("model=vgg19", "reg=pathprox", *SGD), None, per_block=1),
    }


def contestants(net: Net, compiled: bool) -> dict[str, Step | Apart]:
    """Its contestants."""
    own = (*net.overrides, f"trainer.batch_size={net.batch}")
    low = (*own, "hardware.precision=bfloat16")
    steps: dict[str, Step | Apart] = {}
    if net.floor is not None:
        steps = {"products": torchs_own_products()(net.floor), "products by oneDNN": net.floor}
    steps |= {"ours": trained(net.task, *own), "bfloat16": trained(net.task, *low)}
    if compiled and net.floor is not None:
        steps["compiled"] = trained(net.task, *own, compiled=True)
        steps["compiled bfloat16"] = trained(net.task, *low, compiled=True)
    if net.usual is not None:
        steps["usual"] = Apart(usual.script, net.usual, net.task, net.batch)
    return steps


def step_figures(name: str, net: Net, blocks: int, compiled: bool) -> Figures:
    """Milliseconds a step, and the ratios, each under the name of the network."""
    times = race(contestants(net, compiled), blocks, net.per_block)
    figures = {f"{way}, ms": values for way, values in times.items()}
    if net.usual is not None and usual.with_lightning():
        epochs = max(2, net.per_block // 5)
        with torchs_own_products():
            figures["Lightning, ms"] = [usual.lightning_ms(net.usual(), net.task, net.batch, epochs) for _ in range(3)]
    pairs = [("ours", "products"), ("ours", "products by oneDNN"), ("compiled", "products"), ("usual", "ours")]
    pairs += [("usual", way) for way in ("bfloat16", "compiled bfloat16")]
    for a, b in pairs:
        if a in times and b in times:
            figures[f"{a} / {b}"] = ratio(times[a], times[b])
    return {f"{name}: {figure}": values for figure, values in figures.items()}
