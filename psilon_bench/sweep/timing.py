"""Times training steps by short trials."""

import itertools
import statistics
import time
from collections.abc import Callable, Sequence

from psilon_bench.config.schema import Config
from psilon_bench.data.tasks import load_task
from psilon_bench.machine.arithmetic import torch_threads
from psilon_bench.run.checks import prepare
from psilon_bench.sweep.stack_shapes import shape_of
from psilon_bench.training.batches import RowBatch, per_epoch
from psilon_bench.training.engines import build_trainer
from psilon_bench.training.trainer import Trainer

TRIAL_NETWORKS = 8  # at most, in the stack that is timed,
TRIAL_S = 0.2  # for at least so many seconds


def ms_per_network(configs: Sequence[Config], size: int) -> float:
    """Return milliseconds of a step per network in stacks of this size, as far as a small trial tells."""
    trial = configs[: min(TRIAL_NETWORKS, size)]
    return step_ms(trial) / len(trial)


def step_ms(configs: Sequence[Config], ready: Callable[[], None] = lambda: None) -> float:
    """Return milliseconds of one training step of this stack: the median of the steps after the first two.

    `ready` is called before the steps that are timed.
    """
    first = prepare(configs[0])
    same = [config for config in configs if shape_of(config) == shape_of(configs[0])]
    trainer = build_trainer([first, *(prepare(config) for config in same[1:])])
    batches = trainer.batches.endless()
    times: list[float] = []
    with torch_threads(configs[0].hardware.threads), trainer.randomness.own():
        trainer.tune(configs[0].hardware)
        for batch in itertools.islice(batches, 2):
            timed_step(trainer, batch)
        ready()
        while len(times) < 5 or sum(times) < TRIAL_S:
            times.append(timed_step(trainer, next(batches)))
    return 1000 * statistics.median(times) * len(configs) / len(same)


def timed_step(trainer: Trainer, batch: RowBatch) -> float:
    """Return the seconds that one step takes."""
    started = time.perf_counter()
    objective, _ = trainer.training_step(batch, 0)
    objective.cpu()
    return time.perf_counter() - started


def num_steps(config: Config) -> int:
    """Return the training steps of a run, unless it stops early."""
    trainer, rows = config.trainer, len(load_task(config.dataset.text()).train)
    return trainer.all_epochs * per_epoch(rows, trainer.num_batches, trainer.batch_size)
