"""One training step of all members of a stack: objectives, gradients, the optimizer, regularizer and pruner."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from psilon_bench.metrics import prediction
from psilon_bench.pruning.pruner import Pruner
from psilon_bench.regularizers.regularizer import Regularizer
from psilon_bench.training.batches import RowBatch, Shares
from psilon_bench.training.recipe import Recipe
from psilon_bench.training.stack import Dim

Gradients = tuple[Tensor | None, ...]  # by parameters
Kept = dict[str, Tensor]  # what the regularizer is to know of the parameters before the step
Slopes = tuple[Tensor, Tensor, Gradients, Kept]  # objectives and losses, (members,), gradients of the objectives' sum


class Programs(Protocol):
    """What a step consists of beside the optimizer's part, as it is written or compiled; see TrainingStep."""

    @property
    def slopes(self) -> Callable[..., Slopes]:
        """Return the function of what `Given` holds."""
        ...

    @property
    def finish(self) -> Callable[[Tensor, Kept, dict[str, Tensor]], None]:
        """Return the function that changes parameters after the optimizer's step."""
        ...


class Given(NamedTuple):
    """What `slopes` takes; `step` is the learning rate times lambda, (members,)."""

    x: Tensor
    y: Tensor
    shares: Shares
    lams: Tensor
    values: dict[str, Tensor]
    step: Tensor


class TrainingStep:
    """Call it with a batch: objective = loss + lam * penalty of each member, and the update that follows from it.

    lam is (members,). The sum over members is what is differentiated, so no member feels another.
    """

    def __init__(self, recipe: Recipe, optimizer: torch.optim.Optimizer, batch_dim: Dim, steps: int) -> None:
        """batch_dim: how members share a batch, see Stack.map. steps: in the whole run."""
        self.stack, self.kind, self.pruner = recipe.stack, recipe.kind, recipe.pruner
        self.optimizer, self.batch_dim, self.steps = optimizer, batch_dim, steps
        self.regularizers, self.regularizer = recipe.regularizers, recipe.regularizers[0]
        self.lams = torch.tensor(recipe.lams, device=self.stack.device, dtype=self.stack.dtype)
        self.shrinks = type(self.regularizer).after_step is not Regularizer.after_step
        self.remembers = type(self.regularizer).before_step is not Regularizer.before_step
        self.projects = type(self.pruner).after_step is not Pruner.after_step
        blends = type(self.pruner).at_step is not Pruner.at_step
        self.first_blended = self.pruner.first_step(steps) if blends else steps  # from here on no step is compiled
        self.set_autocast(recipe.autocast)
        self.set_progress(0.0)
        self.compiled: Programs | None = None

    @property
    def programs(self) -> Programs:
        """Return what the step consists of, compiled where it is."""
        return self.compiled or self

    def set_autocast(self, autocast: torch.dtype | None) -> None:
        """Call the networks in this type; None: in that of their parameters."""
        self.autocast_type = autocast
        self.autocast = torch.autocast(self.stack.device.type, autocast or torch.bfloat16, enabled=autocast is not None)

    @property
    def precision(self) -> str:
        """Return the name of the type in which matrices are multiplied."""
        return str(self.autocast_type or self.lams.dtype).removeprefix("torch.")

    def set_progress(self, progress: float) -> None:
        """Give the regularizers the values they have at this share of the epochs, 0 in the first and 1 in the last."""
        self.values: dict[str, Tensor] = {}  # (members,) each
        if self.regularizer.stackable:
            values = [regularizer.values(progress) for regularizer in self.regularizers]
            self.values = {name: self.lams.new_tensor([one[name] for one in values]) for name in values[0]}

    def start(self) -> None:
        """Change the networks as regularizer and pruner want them before the first step."""
        self.stack.change(lambda model, values: self.regularizer.at_start(model, **values), self.values, in_dims=(0,))
        if self.projects:
            self.stack.change(self.pruner.after_step)

    def __call__(self, batch: RowBatch, number: int) -> tuple[Tensor, Tensor]:
        """Take the step with this number, from 0; return objectives and losses before it, (members,) each, not read."""
        self.pruner.at_step(self.stack.model, number, self.steps)
        programs = self if number >= self.first_blended else self.programs
        given = self.given(batch)
        with self.stack.training():
            objective, loss, gradients, kept = programs.slopes(*given)
        parameters = self.stack.parameters.values()
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        with torch.no_grad():
            self.optimizer.step()
            programs.finish(given.step, kept, self.values)
        for parameter in parameters:
            parameter.grad = None  # nobody holds on to what a CUDA graph writes over
        return objective.clone(), loss.clone()  # a CUDA graph writes its next results to the same places

    def given(self, batch: RowBatch) -> Given:
        """Return what `slopes` takes of a batch, with the optimizer's learning rate as it is now."""
        step = self.optimizer.param_groups[0]["lr"] * self.lams if self.shrinks else self.lams
        return Given(*batch, self.lams, self.values, step)

    def slopes(
        self, x: Tensor, y: Tensor, shares: Shares, lams: Tensor, values: dict[str, Tensor], step: Tensor
    ) -> Slopes:
        """Return objectives, losses and gradients of all members on a batch, and what `finish` needs to know."""
        in_dims = (self.batch_dim, self.batch_dim, self.batch_dim, 0, 0)
        objective, loss = self.stack.map(self.objective, x, y, shares, lams, values, in_dims=in_dims)
        gradient = torch.autograd.grad(objective.sum(), list(self.stack.parameters.values()), allow_unused=True)
        # fused optimizers take it for granted that a gradient lies in memory as its parameter does
        # (an unused parameter has none, which torch's types do not say)
        gradients = tuple(one if one is None else one.contiguous() for one in gradient)  # type: ignore[redundant-expr]
        return objective.detach(), loss.detach(), gradients, self.kept(step, values)

    @torch.no_grad()
    def kept(self, step: Tensor, values: dict[str, Tensor]) -> Kept:
        """Return what the regularizer is to know of the parameters before the optimizer's step."""

        def before(model: nn.Module, step: Tensor, values: dict[str, Tensor]) -> Kept:
            return self.regularizer.before_step(model, step, **values)

        return self.stack.map(before, step, values, in_dims=(0, 0)) if self.remembers else {}

    def finish(self, step: Tensor, kept: Kept, values: dict[str, Tensor]) -> None:
        """Change the parameters as regularizer and pruner do after the optimizer's step; without gradients."""

        def after(model: nn.Module, step: Tensor, kept: Kept, values: dict[str, Tensor]) -> None:
            self.regularizer.after_step(model, step, kept, **values)

        if self.shrinks:
            self.stack.change(after, step, kept, values, in_dims=(0, 0, 0))
        if self.projects:
            self.stack.change(self.pruner.after_step)

    def objective(
        self, model: nn.Module, x: Tensor, y: Tensor, shares: Shares, lam: Tensor, values: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return (loss + lam * penalty, loss) of one network on one batch."""
        with self.autocast:
            logits = model(x)
        loss = prediction.loss(self.kind, logits.to(self.lams.dtype), y, **shares)
        return loss + lam * self.regularizer.penalty(model, **values), loss
