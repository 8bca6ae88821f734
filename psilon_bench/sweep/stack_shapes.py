"""Which networks of a sweep can share one program: by their shapes, and by a trial of two of them."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from psilon_bench.config.schema import Config
from psilon_bench.data.task import Split
from psilon_bench.data.tasks import TaskShape, task_shape
from psilon_bench.models.baselines import Baseline
from psilon_bench.pruning.pruner import Pruner
from psilon_bench.run.checks import prepare
from psilon_bench.training.batches import per_epoch
from psilon_bench.training.engines import build_under
from psilon_bench.training.member import Member
from psilon_bench.training.optimizer import steps_elementwise
from psilon_bench.training.trainer import Trainer

TRIAL_ROWS = 64  # of the validation rows (of a refit the training rows), where two networks are tried as a stack


def by_shape(configs: Sequence[Config], member: Member | None = None) -> Iterator[list[Config]]:
    """Yield the configurations in groups that can share a program, that of the first of them at first.

    A split can change the number of rows and of input columns; where trials find no difference, what is less is filled
    up (see batches.Rows and Stack). All are of one structure; member: the network of the first, where it is at hand.
    """
    shapes = [task_shape(config.dataset.text()) for config in configs]
    if all(shape == shapes[0] for shape in shapes):
        yield [*configs]
        return
    rows = can_fill_rows(member or prepare(configs[0]))
    columns = rows and can_fill_columns(configs, [shape.row for shape in shapes])
    groups: dict[TaskShape, list[Config]] = {}
    for config, shape in zip(configs, shapes, strict=True):
        if rows:
            batches = per_epoch(shape.train, config.trainer.num_batches, config.trainer.batch_size)
            shape = replace(shape, train=batches, val=min(shape.val, 1))
        groups.setdefault(replace(shape, row=()) if columns else shape, []).append(config)
    yield from groups.values()


def can_fill_columns(configs: Sequence[Config], rows: Sequence[tuple[int, ...]]) -> bool:
    """Return whether inputs that are 0, with weights of 0, change nothing; False where all have as many inputs.

    By trial of the largest lambdas, for the trial sees a penalty in the objective. A pruner that acts while they train
    might count such weights later on. rows: the shape of a row of each configuration.
    """
    by_lam = sorted(zip(configs, rows, strict=True), key=lambda one: one[0].reg.lam)
    strongest = {row: config for config, row in by_lam}
    pruner = type(configs[0].pruner.build())
    acts = pruner.at_step is not Pruner.at_step or pruner.after_step is not Pruner.after_step
    if len(strongest) == 1 or any(len(row) > 1 for row in strongest) or acts:
        return False
    try:
        return step_as_alone([with_few_rows(prepare(config)) for config in list(strongest.values())[:2]])
    except Exception:  # networks that differ in more than their inputs
        return False


def step_as_alone(members: Sequence[Member]) -> bool:
    """Return whether networks of unequal shapes take two steps as one stack as each of them does alone.

    What fills them up has to be 0 after these still.
    """
    alone = torch.cat([two_objectives(trial_of([member])) for member in members])
    trainer = trial_of(members)
    return torch.allclose(two_objectives(trainer), alone, rtol=1e-4) and trainer.stack.is_filled_with_zeros()


def trial_of(members: Sequence[Member]) -> Trainer:
    """Return a trainer of copies of these networks."""
    return build_under([replace(member, model=copy.deepcopy(member.model)) for member in members], None)


def two_objectives(trainer: Trainer) -> Tensor:
    """Return the objectives (members, 2) before the first and the second step."""
    with trainer.randomness.own():
        batches = trainer.batches.endless()
        return torch.stack([trainer.training_step(next(batches), number)[0] for number in range(2)], dim=1).cpu()


def can_fill_rows(member: Member) -> bool:
    """Return whether rows of zeros with weight 0 change nothing: neither outputs on the others, nor their gradients.

    By trial, of random parameters, for those at the start may hide what comes later, such as a gate that is 0. Networks
    that change buffers in training may do so by the rows. Augmentations would draw other random numbers, and your own
    metrics see no weights.
    """
    task, config = member.task, member.config
    if task.kind == "recovery" or task.augment is not None or config.metrics.functions:
        return False
    network = copy.deepcopy(member.model).train()
    buffers = {name: value.clone() for name, value in network.named_buffers()}
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    x = task.train.x[:TRIAL_ROWS].to(parameters[0])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        with torch.no_grad():
            for parameter in parameters:
                parameter += 0.1 * torch.randn_like(parameter)
        fewer, more = (outputs_and_gradients(network, rows, len(x)) for rows in (x, torch.cat([x, 0 * x])))
    unchanged = all(torch.equal(value, buffers[name]) for name, value in network.named_buffers())
    pairs = zip(fewer, more, strict=True)
    return unchanged and all(
        torch.allclose(one, two, rtol=1e-4, atol=1e-4 * one.abs().max().item()) for one, two in pairs
    )


def outputs_and_gradients(network: nn.Module, x: Tensor, counted: int) -> list[Tensor]:
    """Return the outputs on the first rows, and the gradients of a loss in which the rows behind have weight 0."""
    weights = (torch.arange(len(x), device=x.device) < counted).to(x.dtype)
    outputs = network(x)
    loss = (weights * outputs.square().flatten(1).sum(dim=1)).sum()
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return [outputs[:counted].detach(), *torch.autograd.grad(loss, parameters, materialize_grads=True)]


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
