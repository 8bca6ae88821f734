"""What all benchmarks share: contestants that take turns, training steps of any configuration, their bare products."""

import contextlib
import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

import torch
from hydra import compose, initialize_config_dir

from psilon_bench.config.check import check
from psilon_bench.config.conf_folder import CONF
from psilon_bench.config.schema import Config
from psilon_bench.data.task import Kind, Split, Task
from psilon_bench.training.compiled import compile_step
from psilon_bench.training.engines import build_trainer
from psilon_bench.training.member import Member

Step = Callable[[], object]
Figures = dict[str, list[float]]  # name -> one value a block


def random_task(kind: Kind, shape: Sequence[int], outputs: int, rows: int) -> Task:
    """Random rows of this shape; speed does not depend on their values."""
    x = torch.randn(rows, *shape)
    y = torch.randint(0, outputs, (rows,)) if kind == "multiclass" else (x.flatten(1)[:, :1] > 0).float()
    split, names = Split(x, y), [f"x{index}" for index in range(x[0].numel())]
    classes = [str(index) for index in range(max(2, outputs))]
    return Task(
        "random", kind, split, split, split, names, outputs, classes, 0.0, 1.0, "y", None, "here", "none", "0" * 64
    )


def checked(*overrides: str) -> Config:
    """The configuration of a command line."""
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return check(compose("config", ["tracking=none", "hardware=cpu", *overrides]))


def trained(task: Task, *overrides: str, compiled: bool = False) -> Step:
    """A step of our trainer, batches and all."""
    config = checked(*overrides)
    torch.manual_seed(0)
    shape = tuple(task.train.x.shape[1:])
    model = config.model.build(num_features=task.num_features, num_outputs=task.num_outputs, input_shape=shape)
    fit = build_trainer([Member(config, task, model)])
    if compiled and (reason := compile_step(fit.training_step, fit.batches, fit.randomness)):
        raise RuntimeError(reason)
    batches = fit.batches.endless()
    return lambda: fit.training_step(next(batches), 0)


def products(widths: Sequence[int], batch: int, read: Sequence[int] | None = None) -> Step:
    """The matrix products of a step, their results kept to its end as a backward pass needs them.

    Forward, gradient of the weights, gradient of the inputs: three a layer, two in the first. read: what each layer
    reads where that is more than the layer before has.
    """
    shapes = list(zip(read or widths[:-1], widths[1:], strict=True))
    layers = [(torch.randn(batch, a), torch.randn(b, a), torch.randn(batch, b)) for a, b in shapes]

    def step() -> None:
        results = [torch.mm(x, weight.T) for x, weight, _ in layers]
        for index, (x, weight, grad) in enumerate(layers):
            results.append(torch.mm(grad.T, x))
            if index:
                results.append(torch.mm(grad, weight))

    return step


@contextlib.contextmanager
def torchs_own_products() -> Iterator[None]:
    """Within, or in a function decorated by it, float32 products are those that torch takes unasked."""
    products = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before, products.fp32_precision = products.fp32_precision, "ieee"
    try:
        yield
    finally:
        products.fp32_precision = before


class Apart:
    """A contestant in a process of its own, where nothing that psilon-run sets up is in force."""

    def __init__(self, build: Callable[..., Step], *args: Any) -> None:
        """build(*args) makes its step, there."""
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        context.Process(target=serve, args=(other, build, args), daemon=True).start()

    def take(self, steps: int) -> None:
        """So many steps."""
        self.pipe.send(steps)
        self.pipe.recv()


def serve(pipe: Connection, build: Callable[..., Step], args: Sequence[Any]) -> None:
    """Take as many steps as are asked for, until the other end is closed."""
    step = build(*args)
    with contextlib.suppress(EOFError):
        while True:
            take(step, pipe.recv())
            pipe.send(None)


def take(step: "Step | Apart", steps: int) -> None:
    """So many steps."""
    if isinstance(step, Apart):
        step.take(steps)
    else:
        for _ in range(steps):
            step()


def race(contestants: Mapping[str, "Step | Apart"], blocks: int, per_block: int) -> Figures:
    """Milliseconds a step of each contestant, one figure a block; they take turns, so that a drift slows them all."""
    times: Figures = {name: [] for name in contestants}
    for block in range(blocks + 1):  # the first block warms up
        for name, contestant in contestants.items():
            started = time.perf_counter()
            take(contestant, per_block)
            if block:
                times[name].append(1000 * (time.perf_counter() - started) / per_block)
    return times


def ratio(one: Sequence[float], other: Sequence[float]) -> list[float]:
    """Block by block."""
    return [a / b for a, b in zip(one, other, strict=True)]
