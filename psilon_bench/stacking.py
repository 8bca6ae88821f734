"""How many networks train as one program: by memory, and on a CPU only where it is faster, which is measured."""

import itertools
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psutil
import torch
from torch import Tensor, nn

from psilon_bench.config import Config
from psilon_bench.device import place
from psilon_bench.runner import Prepared, build_fit, load, prepare
from psilon_bench.training.trainer import EVALUATION_ROWS, Fit

TRIAL = 8  # networks in the stack that is timed
COPIES = 8  # of each parameter: itself, gradient, Adam's two, last, best, and room for temporaries
MEMORY_SHARE = 0.5  # of what is free


@dataclass(frozen=True)
class Choice:
    """Networks in a stack, and what a step takes per network (None where nothing was measured)."""

    size: int
    step_ms: float | None


def choose(configs: Sequence[Config]) -> Choice:
    """The size of the stacks for configurations of one structure: hardware.plan and hardware.stack_size decide."""
    hardware = configs[0].hardware
    member = prepare(configs[0])
    if hardware.plan == "serial" or len(configs) == 1 or getattr(member.model, "stackable", ()) is None:
        return Choice(1, None)
    limit = hardware.stack_size if hardware.stack_size != "auto" else by_memory(member)
    size = min(limit, len(configs))
    if hardware.plan == "stacked" or place(hardware).device.type != "cpu":
        return Choice(size, None)
    try:
        alone, stacked = measured(configs, 1), measured(configs, size)
    except Exception:  # what is wrong with these networks is told, and recorded, when they train
        return Choice(size, None)
    return Choice(size, stacked) if stacked < alone else Choice(1, alone)


def measured(configs: Sequence[Config], size: int) -> float:
    """Milliseconds of a step per network in stacks of this size, as far as a small trial tells."""
    trial = configs[: min(TRIAL, size)]
    return step_ms(trial) / len(trial)


def step_ms(configs: Sequence[Config]) -> float:
    """Milliseconds of one training step of this stack, the median of five after two."""
    first = prepare(configs[0])
    same = [config for config in configs if shape_of(config) == shape_of(configs[0])]
    fit = build_fit([first, *(prepare(config) for config in same[1:])])
    epochs = (fit.batches.epoch(fit.augment) for _ in itertools.count())
    batches = itertools.islice(itertools.chain.from_iterable(epochs), 7)
    times = [timed_step(fit, x, y) for x, y in batches]
    return 1000 * statistics.median(times[2:]) * len(configs) / len(same)


def timed_step(fit: Fit, x: Tensor, y: Tensor) -> float:
    """Seconds of one step."""
    started = time.perf_counter()
    objective, _ = fit.train_step(x, y)
    objective.cpu()
    return time.perf_counter() - started


def by_memory(member: Prepared) -> int:
    """As many networks as fit into half of the memory that is free."""
    where = place(member.config.hardware).device
    free = torch.cuda.mem_get_info(where)[0] if where.type == "cuda" else psutil.virtual_memory().available
    return max(1, int(MEMORY_SHARE * free / bytes_of(member)))


def bytes_of(member: Prepared) -> int:
    """An estimate of what one network takes while it trains: copies of its parameters, activations of its batches."""
    task, trainer = member.task, member.config.trainer
    parameters = sum(parameter.numel() for parameter in member.model.parameters())
    batch = trainer.batch_size or -(-len(task.train) // trainer.num_batches)
    rows = 3 * batch + min(EVALUATION_ROWS, len(task.val))
    size = next(member.model.parameters()).element_size()
    data = sum(split.x.numel() for split in (task.train, task.val, task.test)) / max(1, len(task.train))
    return int(size * (COPIES * parameters + rows * activations_per_row(member) + data))


def activations_per_row(member: Prepared) -> int:
    """Numbers that one row makes in all layers together."""
    counts: list[int] = []

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        counts.append(output.numel())

    leaves = [module for module in member.model.modules() if not list(module.children())]
    handles = [module.register_forward_hook(count) for module in leaves]
    parameter = next(member.model.parameters())
    with torch.no_grad():
        member.model(member.task.val.x[:1].to(parameter.device, parameter.dtype))
    for handle in handles:
        handle.remove()
    return sum(counts)


def shape_of(config: Config) -> tuple[object, ...]:
    """What must agree for networks to share a program: a split can change the number of input columns."""
    task = load(config.dataset.model_dump_json(by_alias=True))
    splits = (task.train, task.val, task.test)
    return (*(tuple(split.x.shape) for split in splits), task.num_outputs)


def by_shape(configs: Sequence[Config]) -> Iterator[list[Config]]:
    """The configurations in groups of equal shape."""
    groups: dict[tuple[object, ...], list[Config]] = {}
    for config in configs:
        groups.setdefault(shape_of(config), []).append(config)
    yield from groups.values()
