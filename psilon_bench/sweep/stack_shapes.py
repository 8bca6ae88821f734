"""Which networks of a sweep can share one program: by their shapes, and by a trial of two of them."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

import torch

from psilon_bench.config.identity import digest
from psilon_bench.config.schema import Config
from psilon_bench.data.task import Split
from psilon_bench.data.tasks import task_shape
from psilon_bench.models.baselines import Baseline
from psilon_bench.run.checks import prepare
from psilon_bench.training.batches import per_epoch
from psilon_bench.training.engines import build_under
from psilon_bench.training.member import Member
from psilon_bench.training.optimizer import steps_elementwise

TRIAL_ROWS = 64  # of the validation rows (of a refit the training rows), where two networks are tried as a stack


def by_shape(configs: Sequence[Config], member: Member) -> Iterator[list[Config]]:
    """Yield the configurations in groups that can share a program, that of the first of them at first.

    A split can change the number of rows and of input columns. member: one of the networks, which are of one structure.
    Where they can be filled up, splits may have unequally many training and validation rows (see batches.Rows).
    """
    fill_up = can_fill_up(member)
    groups: dict[str, list[Config]] = {}
    for config in configs:
        shape, trainer = task_shape(config.dataset.text()), config.trainer
        if fill_up:
            batches = per_epoch(shape.train, trainer.num_batches, trainer.batch_size)
            shape = replace(shape, train=batches, val=min(shape.val, 1))
        groups.setdefault(digest(asdict(shape)), []).append(config)
    yield from groups.values()


@torch.no_grad()
def can_fill_up(member: Member) -> bool:
    """Return whether rows of weight 0 would change nothing: the outputs on a row are of that row alone, by trial.

    Augmentations would draw other random numbers, and your own metrics see no weights.
    """
    task, config = member.task, member.config
    if task.kind == "recovery" or task.augment is not None or config.metrics.functions:
        return False
    network = copy.deepcopy(member.model).train()
    x = task.train.x[:TRIAL_ROWS].to(next(network.parameters()))
    with torch.random.fork_rng():
        whole, half = network(x), network(x[: len(x) // 2])
    return torch.allclose(whole[: len(half)], half, rtol=1e-4, atol=1e-4 * whole.abs().max().item())


def stacks(group: list[Config], size: int) -> Iterator[list[Config]]:
    """Yield a group in stacks of at most `size` networks of equal shape."""
    for part in by_shape(group, prepare(group[0])) if size > 1 else [group]:
        for start in range(0, len(part), size):
            yield part[start : start + size]


def can_stack(configs: Sequence[Config], member: Member) -> bool:
    """Return whether networks like these can be one program: by their optimizer, and by a step of two of them.

    What cannot: networks with unequal attributes, branches on values, or random numbers in their steps (dropout).
    """
    if isinstance(member.model, Baseline) or not steps_elementwise(member.config, member.model):
        return False
    try:
        first, *others = next(by_shape(configs, member))
        other = others[0] if others else first
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
