"""How the networks of a sweep train: as one program, one after the other, or side by side in processes.

By memory, and on a CPU by what is fastest, which is measured.
"""

import itertools
import statistics
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from psilon_bench.config.schema import Config
from psilon_bench.data.task import Split
from psilon_bench.data.tasks import load_task, task_shape
from psilon_bench.machine.device import place, threads
from psilon_bench.machine.memory import CPU, free_bytes
from psilon_bench.models.baselines import Baseline
from psilon_bench.run.checks import prepare
from psilon_bench.training import footprint
from psilon_bench.training.batches import per_epoch
from psilon_bench.training.engines import build_trainer, build_under
from psilon_bench.training.member import Member
from psilon_bench.training.optimizer import steps_elementwise
from psilon_bench.training.trainer import Trainer

TRIAL = 8  # networks in the stack that is timed,
TRIAL_S = 0.2  # for so long at least
TRIAL_ROWS = 64  # of the validation rows, where two networks are tried as a stack
MEMORY_SHARE = 0.5  # of what is free
PROCESS_BYTES = 400_000_000  # of a process that has imported torch, beside its network and data


@dataclass(frozen=True)
class Choice:
    """Networks in a stack, milliseconds of a step per network (None: not measured), processes side by side or 0.

    rest: with processes, the last so many networks of the group train in this one, for they would not fill a round.
    """

    size: int
    step_ms: float | None
    workers: int = 0
    rest: int = 0

    def divide(self, group: list[Config]) -> tuple[list[Config], list[Config]]:
        """What of the group trains in this process, and what in others."""
        apart = len(group) - self.rest if self.workers else 0
        return group[apart:], group[:apart]

    def __str__(self) -> str:
        if self.workers:
            return f"in {self.workers} processes"
        return f"in stacks of {self.size}" if self.size > 1 else "one by one"


def choose(configs: Sequence[Config]) -> Choice:
    """Stacks or one by one, in this process, for configurations of one structure: hardware.plan decides."""
    hardware = configs[0].hardware
    member = prepare(configs[0])
    if hardware.plan in ("serial", "processes") or len(configs) == 1 or not can_stack(configs, member):
        return Choice(1, None)
    limit = (
        hardware.stack_size if hardware.stack_size != "auto" else by_memory(member, splits_of(configs) / len(configs))
    )
    size = min(limit, len(configs))
    if hardware.plan == "stacked" or place(hardware).device.type != "cpu":
        return Choice(size, None)
    try:
        alone, stacked = measured(configs, 1), measured(configs, size)
    except Exception:  # what is wrong with these networks is told, and recorded, when they train
        return Choice(size, None)
    return Choice(size, stacked) if stacked < alone else Choice(1, alone)


def can_stack(configs: Sequence[Config], member: Member) -> bool:
    """Whether networks like these can be one program: as they say, by their optimizer, and by a step of two of them.

    What cannot: networks with unequal attributes, branches on values, or random numbers in their steps (dropout).
    """
    if isinstance(member.model, Baseline) or not steps_elementwise(member.config, member.model):
        return False
    other = next((config for config in configs[1:] if shape_of(config) == shape_of(configs[0])), configs[0])
    try:
        trainer = build_under([with_few_rows(member), with_few_rows(prepare(other))], None)
        with trainer.randomness.own():
            before = trainer.randomness.state()
            trainer.training_step(*next(trainer.batches.endless()), 0)
            trainer.measured()
            return all(map(torch.equal, before, trainer.randomness.state()))
    except Exception:  # whatever vmap has against a network of a person's own
        return False


def with_few_rows(member: Member) -> Member:
    """The same with few rows to be evaluated."""
    task = member.task
    few = Split(task.val.x[:TRIAL_ROWS], task.val.y[:TRIAL_ROWS])
    return replace(member, task=replace(task, val=few, test=few, extra_tests={}))


def measured(configs: Sequence[Config], size: int) -> float:
    """Milliseconds of a step per network in stacks of this size, as far as a small trial tells."""
    trial = configs[: min(TRIAL, size)]
    return step_ms(trial) / len(trial)


def step_ms(configs: Sequence[Config], ready: Callable[[], None] = lambda: None) -> float:
    """Milliseconds of one training step of this stack, the median of some after two; `ready` is called before them."""
    first = prepare(configs[0])
    same = [config for config in configs if shape_of(config) == shape_of(configs[0])]
    trainer = build_trainer([first, *(prepare(config) for config in same[1:])])
    batches = trainer.batches.endless()
    times: list[float] = []
    with threads(configs[0].hardware.threads), trainer.randomness.own():
        trainer.compile(configs[0].hardware)
        for x, y in itertools.islice(batches, 2):
            timed_step(trainer, x, y)
        ready()
        while len(times) < 5 or sum(times) < TRIAL_S:
            times.append(timed_step(trainer, *next(batches)))
    return 1000 * statistics.median(times) * len(configs) / len(same)


def timed_step(trainer: Trainer, x: Tensor, y: Tensor) -> float:
    """Seconds of one step."""
    started = time.perf_counter()
    objective, _ = trainer.training_step(x, y, 0)
    objective.cpu()
    return time.perf_counter() - started


def by_memory(member: Member, splits: float) -> int:
    """As many networks as fit into half of the memory that is free; `splits` of the data for each network."""
    where = place(member.config.hardware).device
    return max(1, int(MEMORY_SHARE * free_bytes(where) / (bytes_of(member) + splits * bytes_of_data(member))))


def processes_by_memory(member: Member) -> int:
    """As many processes as fit into half of the memory that is free; each holds its data twice, as read and as used."""
    network = bytes_of(member) if isinstance(member.model, nn.Module) else 0
    each = PROCESS_BYTES + network + 2 * bytes_of_data(member)
    return max(1, int(MEMORY_SHARE * free_bytes(CPU) / each))


def splits_of(configs: Sequence[Config]) -> int:
    """How many splits of the data there are; networks on the same one share its rows."""
    return len({config.dataset.text() for config in configs})


def bytes_of(member: Member) -> int:
    """An estimate of what one network takes while it trains."""
    _, activations = footprint.one_row(member.model, member.task)
    return footprint.bytes_of(member.config, member.task, footprint.num_parameters(member.model), activations)


def bytes_of_data(member: Member) -> int:
    """Of the rows of one split."""
    size = place(member.config.hardware).dtype.itemsize
    return size * sum(split.x.numel() for split in (member.task.train, member.task.val, member.task.test))


def shape_of(config: Config) -> tuple[Hashable, ...]:
    """What must agree for networks to share a program: a split can change the number of input columns."""
    return task_shape(config.dataset.text())


def steps(config: Config) -> int:
    """Training steps of a run, unless it stops early."""
    trainer, rows = config.trainer, len(load_task(config.dataset.text()).train)
    return trainer.all_epochs * per_epoch(rows, trainer.num_batches, trainer.batch_size)


def by_shape(configs: Sequence[Config]) -> Iterator[list[Config]]:
    """The configurations in groups of equal shape."""
    groups: dict[Hashable, list[Config]] = {}
    for config in configs:
        groups.setdefault(shape_of(config), []).append(config)
    yield from groups.values()
