"""Which networks of a sweep can share one program: by their shapes, and by a trial of two of them."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

import torch
from torch import Tensor

from psilon_bench.config.identity import digest
from psilon_bench.config.schema import Config
from psilon_bench.data.task import Split
from psilon_bench.data.tasks import task_shape
from psilon_bench.models.baselines import Baseline
from psilon_bench.pruning.pruner import Pruner
from psilon_bench.run.checks import prepare
from psilon_bench.training.batches import per_epoch
from psilon_bench.training.engines import build_under
from psilon_bench.training.member import Member
from psilon_bench.training.optimizer import steps_elementwise

TRIAL_ROWS = 64  # of the validation rows (of a refit the training rows), where two networks are tried as a stack


def by_shape(configs: Sequence[Config], member: Member) -> Iterator[list[Config]]:
    """Yield the configurations in groups that can share a program, that of the first of them at first.

    A split can change the number of rows and of input columns; where trials find no difference, what is less is filled
    up (see batches.Rows and Stack). member: the network of the first configuration; all are of one structure.
    """
    rows = can_fill_rows(member)
    columns = rows and can_fill_columns(configs, member)
    groups: dict[str, list[Config]] = {}
    for config in configs:
        shape, trainer = task_shape(config.dataset.text()), config.trainer
        if rows:
            batches = per_epoch(shape.train, trainer.num_batches, trainer.batch_size)
            shape = replace(shape, train=batches, val=min(shape.val, 1))
        if columns:
            shape = replace(shape, row=())
        groups.setdefault(digest(asdict(shape)), []).append(config)
    yield from groups.values()


def can_fill_columns(configs: Sequence[Config], member: Member) -> bool:
    """Return whether inputs that are 0, with weights of 0, change nothing; False where all have as many inputs.

    By trial. A pruner that acts while they train might count such weights later on.
    """
    row = tuple(member.task.train.x.shape[1:])
    other = next((one for one in configs if task_shape(one.dataset.text()).row != row), None)
    pruner = type(member.config.pruner.build())
    acts = pruner.at_step is not Pruner.at_step or pruner.after_step is not Pruner.after_step
    if other is None or len(row) > 1 or acts:
        return False
    try:
        return step_as_alone([with_few_rows(member), with_few_rows(prepare(other))])
    except Exception:  # networks that differ in more than their inputs
        return False


def step_as_alone(members: Sequence[Member]) -> bool:
    """Return whether networks of unequal shapes take two steps as one stack as each of them does alone."""
    alone = torch.cat([two_objectives([member]) for member in members])
    return torch.allclose(two_objectives(members), alone, rtol=1e-4)


def two_objectives(members: Sequence[Member]) -> Tensor:
    """Return the objectives (members, 2) before the first and the second step."""
    trainer = build_under([replace(member, model=copy.deepcopy(member.model)) for member in members], None)
    with trainer.randomness.own():
        batches = trainer.batches.endless()
        return torch.stack([trainer.training_step(next(batches), number)[0] for number in range(2)], dim=1).cpu()


@torch.no_grad()
def can_fill_rows(member: Member) -> bool:
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
        members = [with_few_rows(member), with_few_rows(prepare(other))]
        trainer = build_under(members, None)
        if trainer.stack.forms and not step_as_alone(members):
            return False
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
