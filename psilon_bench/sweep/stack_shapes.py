"""Which networks of a sweep can share one program: by their shapes, and by a trial of two of them."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace

import torch

from psilon_bench.config.schema import Config
from psilon_bench.data.task import Split
from psilon_bench.data.tasks import task_shape
from psilon_bench.models.baselines import Baseline
from psilon_bench.run.checks import prepare
from psilon_bench.training.engines import build_under
from psilon_bench.training.member import Member
from psilon_bench.training.optimizer import steps_elementwise

TRIAL_ROWS = 64  # of the validation rows (of a refit the training rows), where two networks are tried as a stack


def shape_of(config: Config) -> tuple[Hashable, ...]:
    """Return what must agree for networks to share a program: a split can change the number of input columns."""
    return task_shape(config.dataset.text())


def by_shape(configs: Sequence[Config]) -> Iterator[list[Config]]:
    """Yield the configurations in groups of equal shape."""
    groups: dict[Hashable, list[Config]] = {}
    for config in configs:
        groups.setdefault(shape_of(config), []).append(config)
    yield from groups.values()


def stacks(group: list[Config], size: int) -> Iterator[list[Config]]:
    """Yield a group in stacks of at most `size` networks of equal shape."""
    for part in by_shape(group) if size > 1 else [group]:
        for start in range(0, len(part), size):
            yield part[start : start + size]


def can_stack(configs: Sequence[Config], member: Member) -> bool:
    """Return whether networks like these can be one program: by their optimizer, and by a step of two of them.

    What cannot: networks with unequal attributes, branches on values, or random numbers in their steps (dropout).
    """
    if isinstance(member.model, Baseline) or not steps_elementwise(member.config, member.model):
        return False
    other = next((config for config in configs[1:] if shape_of(config) == shape_of(configs[0])), configs[0])
    try:
        trainer = build_under([with_few_rows(member), with_few_rows(prepare(other))], None)
        with trainer.randomness.own():
            before = trainer.randomness.state()
            trainer.training_step(next(trainer.batches.endless()), 0)
            trainer.evaluation.validation("val", trainer.recipe.measures)
            return all(map(torch.equal, before, trainer.randomness.state()))
    except Exception:  # whatever vmap has against a network of a person's own
        return False


def with_few_rows(member: Member) -> Member:
    """Return the same member with few validation rows, which also stand for its test rows."""
    task = member.task
    rows = task.val if len(task.val) else task.train
    weights = None if rows.weights is None else torch.ones(len(rows.x[:TRIAL_ROWS]))
    few = Split(rows.x[:TRIAL_ROWS], rows.y[:TRIAL_ROWS], weights=weights)
    return replace(member, task=replace(task, val=few, test=few, extra_tests={}))
