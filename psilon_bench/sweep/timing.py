"""Times training steps by short trials."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from psilon_bench.config.schema import Config
from psilon_bench.data.tasks import load_task
from psilon_bench.machine.arithmetic import torch_threads
from psilon_bench.run.checks import prepare
from psilon_bench.sweep.stack_shapes import by_shape
from psilon_bench.training.batches import per_epoch
from psilon_bench.training.engines import build_trainer
from psilon_bench.training.turns import turn_s

SMALL_STACK, LARGE_STACK = 8, 32  # networks that are timed: a stack of up to LARGE_STACK as it is,
LARGE_SHARE = 8  # a larger one by one network in so many, and by SMALL_STACK, as a straight line through the two
TRIAL_S = 0.2  # for at least so many seconds,
TURNS = 5  # and for at least so many turns


@dataclass(frozen=True)
class StepTime:
    """The milliseconds of a step per network in the turns of a trial: the median, the 10 % and the 90 % quantile.

    A turn is a step, or as many as fill 20 ms. On a quiet machine the three are alike; on a busy one a long training
    takes anything between the two quantiles, since the load changes.
    """

    ms: float
    low: float
    high: float

    @classmethod
    def of(cls, turns_ms: Sequence[float]) -> "StepTime":
        """Return what these turns say."""
        low, median, high = np.quantile(turns_ms, (0.1, 0.5, 0.9)).tolist()
        return cls(median, low, high)

    def times(self, factor: float) -> "StepTime":
        """Return so many times as long."""
        return StepTime(self.ms * factor, self.low * factor, self.high * factor)


def ms_per_network(configs: Sequence[Config], size: int) -> float:
    """Return milliseconds of a step per network in stacks of this size, as a trial tells."""
    return step_time(configs, size).ms


def step_time(configs: Sequence[Config], size: int) -> StepTime:
    """Return the time of a step per network in stacks of this size, as trials tell.

    A step of n networks takes about a + b n: with a, the calls of operations, shared by a few networks alone, the time
    per network would be several times too long.
    """
    large = min(size, max(LARGE_STACK, size // LARGE_SHARE))
    found = trial(configs[:large])
    if large == size:
        return found.times(1 / size)
    slope = max(0.0, found.ms - trial(configs[:SMALL_STACK]).ms) / (large - SMALL_STACK)
    return found.times((found.ms + slope * (size - large)) / found.ms / size)


def step_ms(configs: Sequence[Config], ready: Callable[[], None] = lambda: None) -> float:
    """Return milliseconds of one training step of this stack."""
    return trial(configs, ready).ms


def trial(configs: Sequence[Config], ready: Callable[[], None] = lambda: None) -> StepTime:
    """Return the time of one training step of this stack, by turns after the first two steps.

    `ready` is called before the steps that are timed.
    """
    first = prepare(configs[0])
    same = next(by_shape(configs, first))
    trainer = build_trainer([first, *(prepare(config) for config in same[1:])])
    batches = trainer.batches.endless()

    def step() -> None:
        objective, _ = trainer.training_step(next(batches), 0)
        objective.cpu()  # waits for a GPU

    turns: list[float] = []
    with torch_threads(configs[0].hardware.threads), trainer.randomness.own():
        trainer.tune(configs[0].hardware)
        for _ in range(2):
            step()
        ready()
        until = time.perf_counter() + TRIAL_S
        while len(turns) < TURNS or time.perf_counter() < until:
            turns.append(1000 * turn_s(step))
    return StepTime.of(turns).times(len(configs) / len(same))


def num_steps(config: Config) -> int:
    """Return the training steps of a run, unless it stops early."""
    trainer, rows = config.trainer, len(load_task(config.dataset.text()).train)
    return trainer.all_epochs * per_epoch(rows, trainer.num_batches, trainer.batch_size)
