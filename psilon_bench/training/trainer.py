"""The training loop: the same for one network and for a stack of them."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from psilon_bench.config.schema import TrainerSection
from psilon_bench.data.task import Kind, Task
from psilon_bench.metrics import prediction
from psilon_bench.metrics.certificate import certified_accuracies
from psilon_bench.metrics.lipschitz import jacobians
from psilon_bench.metrics.units import weight_decay_objectives
from psilon_bench.models.offers import HasLipschitzBound, HasUnits
from psilon_bench.pruning.pruner import Pruner
from psilon_bench.regularizers.regularizer import Regularizer
from psilon_bench.training.batches import Batches, Rows
from psilon_bench.training.optimizer import lean
from psilon_bench.training.randomness import Randomness
from psilon_bench.training.stack import Stack

EVALUATION_ROWS = 8192  # of all members together, in one forward pass
Row = dict[str, float]
Slopes = tuple[Tensor, Tensor, tuple[Tensor | None, ...]]  # objectives and losses (members,), gradient by parameters


@dataclass
class Progress:
    """What became of one network."""

    status: Literal["running", "finished", "failed"] = "running"
    reason: str | None = None
    last_row: Row = field(default_factory=dict)
    best_row: Row = field(default_factory=dict)
    waited: int = 0  # evaluations since the best


class Fit:
    """Trains the members of a stack on their tasks; afterwards `members`, `last` and `best` hold the outcome.

    objective = loss + lam * penalty, lam (members,); the sum over members is what is differentiated, so no member
    feels another. A member whose loss is not finite is marked failed with the step; one that early stopping ends is
    finished: both keep the parameters of that moment and the others go on.
    """

    def __init__(
        self,
        stack: Stack,
        tasks: Sequence[Task],
        regularizers: Sequence[Regularizer],
        lams: Sequence[float],
        seeds: Sequence[int],
        settings: TrainerSection,
        optimizer: Callable[[list[Tensor]], torch.optim.Optimizer],
        scheduler: Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler],
        autocast: torch.dtype | None = None,
        pruner: Pruner | None = None,
        measures: Callable[[nn.Module], dict[str, Tensor]] = lambda model: {},
    ) -> None:
        """measures: what each row has of the network itself."""
        self.stack, self.settings = stack, settings
        self.regularizers, self.regularizer = regularizers, regularizers[0]
        self.shrinks = type(self.regularizer).after_step is not Regularizer.after_step
        self.remembers = type(self.regularizer).before_step is not Regularizer.before_step
        self.pruner, self.measures = pruner or Pruner(), measures
        self.projects = type(self.pruner).after_step is not Pruner.after_step
        self.blends = type(self.pruner).at_step is not Pruner.at_step
        parameter = next(iter(stack.parameters.values()))
        self.device, dtype = parameter.device, parameter.dtype
        self.kind: Kind = tasks[0].kind
        self.set_autocast(autocast)
        self.lams = torch.tensor(lams, device=self.device, dtype=dtype)
        train = Rows([task.train for task in tasks], self.device, dtype)
        self.val = Rows([task.val for task in tasks], self.device, dtype)
        self.test = Rows([task.test for task in tasks], self.device, dtype)
        self.extra_tests = {
            name: Rows([task.extra_tests[name] for task in tasks], self.device, dtype) for name in tasks[0].extra_tests
        }
        augments = [task.augment for task in tasks]
        self.batches = Batches(train, seeds, settings.num_batches, settings.batch_size, augments)
        self.optimizer = lean(optimizer, list(stack.parameters.values()))
        self.scheduler = scheduler(self.optimizer)
        self.members = [Progress() for _ in range(stack.size)]
        self.epoch, self.step = 1, 0  # the epoch under way, the steps evaluated
        self.steps = settings.epochs * self.batches.per_epoch  # in all
        self.unpruned: list[Row] = []  # validation scores before the pruner began to act
        self.own = self.own_values()
        self.randomness = Randomness(seeds, self.device)
        with self.randomness.own():
            stack.change(lambda model, own: self.regularizer.at_start(model, **own), self.own, in_dims=(0,))
            if self.projects:
                stack.change(self.pruner.after_step)
        self.last, self.best = stack.snapshot(), stack.snapshot()
        self.clock = time.perf_counter()
        self.seconds = 0.0  # spent on training steps, evaluations excluded
        self.window: list[tuple[Tensor, Tensor]] = []  # (objective, loss) of the steps since the last evaluation
        self.compiled: Callable[..., Slopes] | None = None

    def run(
        self,
        on_row: Callable[[int, Row], None],
        on_epoch: Callable[[int], None] = lambda epoch: None,
        safe_point: Callable[[], None] = lambda: None,
    ) -> None:
        """Train to the end. on_row(member, row) gets each row of the history as soon as it exists.

        safe_point is called between steps, on_epoch after epochs; where they raise, `state` is whole.
        """
        self.clock = time.perf_counter()
        with self.randomness.own():
            while self.epoch <= self.settings.epochs and self.running():
                self.train_epoch(safe_point)
                if self.epoch % self.settings.eval_every == 0 or self.epoch == self.settings.epochs:
                    self.evaluate(self.epoch, on_row)
                if self.settings.schedule == "epoch" and self.epoch < self.settings.epochs:
                    self.scheduler.step()
                self.epoch += 1
                on_epoch(self.epoch - 1)
            self.before_pruning()
        self.pruner.at_step(self.stack.model, self.steps, self.steps)
        self.stack.copy_members(self.stack.tensors, self.last, self.running())
        for index in self.running():
            self.members[index].status = "finished"

    def train_epoch(self, safe_point: Callable[[], None]) -> None:
        """Those steps of the epoch under way that are not taken yet."""
        self.own = self.own_values()
        for x, y in self.batches.epoch():
            self.before_pruning()
            if self.settings.schedule == "step" and self.taken:
                self.scheduler.step()
            self.window.append(self.train_step(x, y))
            safe_point()

    @property
    def taken(self) -> int:
        """Steps so far."""
        return self.step + len(self.window)

    def own_values(self) -> dict[str, Tensor]:
        """The regularizer's stackable values in this epoch, (members,) each."""
        if not self.regularizer.stackable:
            return {}
        progress = (self.epoch - 1) / max(1, self.settings.epochs - 1)
        every = [regularizer.values(progress) for regularizer in self.regularizers]
        return {name: self.lams.new_tensor([own[name] for own in every]) for name in every[0]}

    def before_pruning(self) -> None:
        """At the step at which the pruner begins to act, keep the scores that the networks have without it."""
        if self.taken == self.pruner.first_step(self.steps) > 0:
            self.unpruned = self.measure(self.val, "unpruned/val", lambda model: {})

    def state(self) -> dict[str, Any]:
        """All that decides the rest of the run; `load_state` of it in a fresh Fit continues bit for bit."""
        now = time.perf_counter()
        self.seconds, self.clock = self.seconds + now - self.clock, now
        return {
            "tensors": {name: value.detach() for name, value in self.stack.everything.items()},
            "last": self.last,
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "batches": self.batches.state(),
            "randomness": self.randomness.state(),
            "members": [asdict(member) for member in self.members],
            "window": self.window,
            "counters": (self.epoch, self.step, self.seconds),
            "unpruned": self.unpruned,
            "autocast": self.autocast_type,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from `state`, of the same stack."""
        everyone = range(self.stack.size)
        self.stack.copy_members(state["tensors"], self.stack.everything, everyone)
        self.stack.copy_members(state["last"], self.last, everyone)
        self.stack.copy_members(state["best"], self.best, everyone)
        self.optimizer.load_state_dict(state["optimizer"])
        self.optimizer._opt_called = True  # type: ignore[attr-defined]  # else a scheduler that goes on first warns
        self.scheduler.load_state_dict(state["scheduler"])
        self.batches.load_state(state["batches"])
        self.randomness.load_state(state["randomness"])
        self.members = [Progress(**member) for member in state["members"]]
        self.window = [(objective.to(self.device), loss.to(self.device)) for objective, loss in state["window"]]
        self.epoch, self.step, self.seconds = state["counters"]
        if self.taken:
            self.pruner.at_step(self.stack.model, self.taken - 1, self.steps)  # as the last step left the layers
        self.unpruned = state["unpruned"]
        self.set_autocast(state["autocast"])

    def set_autocast(self, autocast: torch.dtype | None) -> None:
        """The type in which training steps call the networks; None: that of their parameters."""
        self.autocast_type = autocast
        self.autocast = torch.autocast(self.device.type, autocast or torch.bfloat16, enabled=autocast is not None)

    @property
    def precision(self) -> str:
        """The type in which training steps multiply matrices."""
        return str(self.autocast_type or self.lams.dtype).removeprefix("torch.")

    def running(self) -> list[int]:
        """The members that still train."""
        return [index for index, member in enumerate(self.members) if member.status == "running"]

    def train_step(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """One step of the optimizer for all members; their objectives and losses before it, not yet read."""
        self.pruner.at_step(self.stack.model, self.taken, self.steps)
        blending = self.blends and self.taken >= self.pruner.first_step(self.steps)
        slopes = self.slopes if self.compiled is None or blending else self.compiled
        with self.stack.training():
            objective, loss, gradients = slopes(x, y, self.lams, self.own)
        parameters = self.stack.parameters.values()
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        with torch.no_grad():
            self.shrinking_step() if self.shrinks else self.optimizer.step()
        for parameter in parameters:
            parameter.grad = None  # nobody holds on to what a CUDA graph writes over
        if self.projects:
            self.stack.change(self.pruner.after_step)
        return objective.clone(), loss.clone()  # a CUDA graph writes its next results to the same places

    def slopes(self, x: Tensor, y: Tensor, lams: Tensor, own: dict[str, Tensor]) -> Slopes:
        """Of every member on a batch; the gradient is that of the sum of all objectives."""
        shared = self.batches.in_dim
        objective, loss = self.stack.map(self.objective, x, y, lams, own, in_dims=(shared, shared, 0, 0))
        gradient = torch.autograd.grad(objective.sum(), list(self.stack.parameters.values()), allow_unused=True)
        # fused optimizers take it for granted that a gradient lies in memory as its parameter does
        return objective.detach(), loss.detach(), tuple(one if one is None else one.contiguous() for one in gradient)

    def shrinking_step(self) -> None:
        """The optimizer's step, between what the regularizer does before it and after it."""
        step = self.optimizer.param_groups[0]["lr"] * self.lams

        def before(model: nn.Module, step: Tensor, own: dict[str, Tensor]) -> dict[str, Tensor]:
            return self.regularizer.before_step(model, step, **own)

        def after(model: nn.Module, step: Tensor, kept: dict[str, Tensor], own: dict[str, Tensor]) -> None:
            self.regularizer.after_step(model, step, kept, **own)

        kept = self.stack.map(before, step, self.own, in_dims=(0, 0)) if self.remembers else {}
        self.optimizer.step()
        self.stack.change(after, step, kept, self.own, in_dims=(0, 0, 0))

    def objective(
        self, model: nn.Module, x: Tensor, y: Tensor, lam: Tensor, own: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """(loss + lam * penalty, loss) of one network on one batch."""
        with self.autocast:
            logits = model(x)
        loss = prediction.loss(self.kind, logits.to(self.lams.dtype), y)
        return loss + lam * self.regularizer.penalty(model, **own), loss

    def evaluate(self, epoch: int, on_row: Callable[[int, Row], None]) -> None:
        """Read the window, add a row for each running member, keep the best, end what diverged or waits too long."""
        objectives, losses = (torch.stack(values, dim=1).cpu() for values in zip(*self.window, strict=True))
        self.seconds += time.perf_counter() - self.clock
        first, self.step, self.window = self.step + 1, self.step + len(self.window), []
        mean_loss = prediction.reported(self.kind, losses.mean(dim=1)).tolist()
        last_loss = prediction.reported(self.kind, losses[:, -1]).tolist()
        common = {"epoch": epoch, "step": self.step, "lr": self.optimizer.param_groups[0]["lr"]}
        measured = self.measure(self.val, "val", self.measures)
        if isinstance(self.stack.model, HasUnits) and self.stack.model.units() and self.regularizer.weight_decay:
            measured = [own | more for own, more in zip(measured, self.weight_decay_objectives(), strict=True)]
        improved, ended = [], []
        for index in self.running():
            member, broken = self.members[index], (~objectives[index].isfinite()).nonzero()
            if len(broken) or not math.isfinite(measured[index]["val/loss"]):
                member.status = "failed"
                if len(broken):
                    at = int(broken[0])
                    member.reason = f"diverged: the objective is {objectives[index, at].item():g} at step {first + at}"
                else:
                    loss = measured[index]["val/loss"]
                    member.reason = f"diverged: the validation loss is {loss:g} after step {self.step}"
                ended.append(index)
                continue
            member.last_row = common | {"train/loss": mean_loss[index]} | measured[index]
            member.last_row["train/objective"] = objectives[index].mean().item()
            on_row(index, member.last_row)
            if not member.best_row or member.last_row["val/loss"] < member.best_row["val/loss"]:
                member.best_row, member.waited = member.last_row, 0
                improved.append(index)
            else:
                member.waited += 1
            target, reached = self.settings.target_loss, last_loss[index]
            if target is not None and reached <= target:
                member.status, member.reason = "finished", f"the loss is {reached:.3g} at step {self.step}"
                ended.append(index)
            elif self.settings.early_stopping is not None and member.waited >= self.settings.early_stopping:
                member.status, member.reason = "finished", f"early stopping at epoch {epoch}"
                ended.append(index)
        self.stack.copy_members(self.stack.tensors, self.best, improved)
        self.stack.copy_members(self.stack.tensors, self.last, ended)
        self.clock = time.perf_counter()

    @torch.no_grad()
    def measure(
        self,
        rows: Rows,
        split: str,
        of_network: Callable[[nn.Module], dict[str, Tensor]],
        radii: Sequence[float] = (),
    ) -> list[dict[str, float]]:
        """Scores on a split, named `split/...`, and the network's own numbers; one dictionary a member.

        Classes: also the certified accuracy at L_inf radii, for networks that have a bound.
        """
        certified = radii if self.kind != "regression" and isinstance(self.stack.model, HasLipschitzBound) else ()

        def scores(model: Any, logits: Tensor, y: Tensor) -> dict[str, Tensor]:
            own = prediction.scores(self.kind, logits, y)
            if certified:
                own |= certified_accuracies(self.kind, logits, y, model.lipschitz_bound(), certified)
            return {f"{split}/{name}": value for name, value in own.items()} | of_network(model)

        return self.over(rows, scores)

    @torch.no_grad()
    def weight_decay_objectives(self) -> list[dict[str, float]]:
        """The objectives over all training rows, without augmentation; one dictionary a member."""

        def objectives(model: nn.Module, logits: Tensor, y: Tensor, lam: Tensor) -> dict[str, Tensor]:
            return weight_decay_objectives(model, prediction.loss(self.kind, logits, y), lam)

        return self.over(self.batches.rows, objectives, self.lams * self.regularizer.weight_decay)

    def over(self, rows: Rows, function: Callable[..., dict[str, Tensor]], *own: Tensor) -> list[dict[str, float]]:
        """function(network, its logits on all of these rows, their y, *its own values); one dictionary a member."""
        chunks = rows.chunks(max(64, EVALUATION_ROWS // self.stack.size))
        in_dims = (0, rows.in_dim, *[0] * len(own))
        with self.randomness.own():
            logits = torch.cat([self.stack.map(forward, x, in_dims=(rows.in_dim,)) for x in chunks], dim=1)
            values = self.stack.map(function, logits, rows.y, *own, in_dims=in_dims)
        columns = {name: value.tolist() for name, value in values.items()}
        return [{name: column[index] for name, column in columns.items()} for index in range(self.stack.size)]

    def jacobians(self, points: int) -> list[Tensor]:
        """d logits / d input of every member at its first test rows, (points, outputs, inputs) each, on the CPU."""
        x = next(self.test.chunks(points))
        own = x.expand(self.stack.size, *x.shape) if self.test.in_dim is None else x
        with self.randomness.own():
            return list(jacobians(lambda x: self.stack.map(forward, x, in_dims=(0,)), own).cpu())

    @torch.no_grad()
    def select(self) -> None:
        """Put the selected parameters (the last, or the best by validation loss) of every member into the stack."""
        chosen = self.best if self.settings.select == "best" else self.last
        self.stack.copy_members(chosen, self.stack.tensors, range(self.stack.size))


def forward(model: nn.Module, x: Tensor) -> Tensor:
    """Logits in the precision of the parameters, as the saved network gives them: no measure is under autocast."""
    return model(x)
