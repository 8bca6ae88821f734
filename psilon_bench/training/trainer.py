"""The training loop: the same for one network and for a stack of them."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn

from psilon_bench.config.sections import HardwareSection
from psilon_bench.machine.torch_internals import lean, mark_stepped
from psilon_bench.metrics import prediction
from psilon_bench.regularizers.regularizer import saves_another_form
from psilon_bench.training.batches import Batches, Rows
from psilon_bench.training.class_weight import training_splits
from psilon_bench.training.compiled import CompileChoice
from psilon_bench.training.engine import OnRow, Outcome, Progress, Row
from psilon_bench.training.evaluation import Evaluation
from psilon_bench.training.outcomes import outcomes
from psilon_bench.training.randomness import Randomness
from psilon_bench.training.recipe import Recipe
from psilon_bench.training.soft_targets import taught_splits
from psilon_bench.training.stack import Stack
from psilon_bench.training.step import TrainingStep
from psilon_bench.training.threads import ThreadChoice


class Trainer:
    """Trains the members of a stack on their tasks; `last` and `best` keep parameters, `members` how far each came.

    A member whose loss is not finite is marked failed with the step; one that early stopping ends is finished: both
    keep the parameters of that moment and the others go on.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.stack, settings = recipe, recipe.stack, recipe.settings
        splits = taught_splits(training_splits(recipe.tasks, settings.class_weight), recipe.tasks, settings)
        train = Rows(splits, self.stack.device, self.stack.dtype)
        augments = [task.augment for task in recipe.tasks]
        self.batches = Batches(train, recipe.seeds, settings.num_batches, settings.batch_size, augments)
        self.optimizer = lean(lambda tensors: recipe.optimizer(tensors, recipe.lr), [*self.stack.parameters.values()])
        self.scheduler = recipe.scheduler(self.optimizer)
        self.steps = recipe.epochs * self.batches.per_epoch  # in all
        self.training_step = TrainingStep(recipe, self.optimizer, self.batches.in_dim, self.steps)
        self.randomness = Randomness(recipe.seeds, self.stack.device)
        tried = (self.training_step, self.batches, self.randomness)
        self.threads, self.compiling = ThreadChoice(*tried), CompileChoice(*tried)
        self.evaluation = Evaluation(recipe, train, self.randomness)
        self.members = [Progress() for _ in range(self.stack.size)]
        self.epoch, self.step = 1, 0  # the epoch under way, the steps evaluated
        self.unpruned: list[Row] = []  # validation scores before the pruner began to act
        with self.randomness.own():
            self.training_step.start()
        self.last, self.best = self.stack.snapshot(), self.stack.snapshot()
        self.clock: float | None = None  # since when time counts; None while this trainer is not at work
        self.seconds = 0.0  # spent on training steps, evaluations excluded
        self.window: list[tuple[Tensor, Tensor]] = []  # of steps since the last evaluation: objectives, losses

    @property
    def precision(self) -> str:
        """Return the type in which training steps multiply matrices."""
        return self.training_step.precision

    @property
    def device(self) -> str:
        """Return where the networks are."""
        return str(self.stack.device)

    @property
    def epochs(self) -> int:
        """Return the epochs of the whole run."""
        return self.recipe.settings.all_epochs

    @property
    def at_work(self) -> list[int]:
        """Return all members: they train together."""
        return list(range(self.stack.size))

    @property
    def taken(self) -> int:
        """Return the number of steps so far."""
        return self.step + len(self.window)

    def tune(self, hardware: HardwareSection) -> str | None:
        """Choose threads, and compile the step, but not of a stack on a CPU: it would take up to 2.6 times as long."""
        if hardware.threads == "auto" and self.stack.device.type == "cpu":
            self.threads.choose()
        pays = self.stack.size == 1 or self.stack.device.type != "cpu"
        left = self.training_step.first_blended - self.taken
        return self.compiling.choose(hardware.compile, left) if hardware.compile and pays and left > 0 else None

    def run(
        self,
        on_row: OnRow,
        on_epoch: Callable[[int], None] = lambda _: None,
        safe_point: Callable[[], None] = lambda: None,
    ) -> None:
        """Train to the end; see Engine.run."""
        self.advance(self.recipe.epochs, on_row, on_epoch, safe_point)
        with self.randomness.own():
            self.before_pruning()
        self.recipe.pruner.at_step(self.stack.model, self.steps, self.steps)
        self.stack.copy_members(self.stack.tensors, self.last, self.running())
        for index in self.running():
            self.members[index].status = "finished"

    def advance(
        self, until: int, on_row: OnRow, on_epoch: Callable[[int], None], safe_point: Callable[[], None]
    ) -> None:
        """Train up to the end of this epoch, from which `run` or another call goes on."""
        epochs, settings = self.recipe.epochs, self.recipe.settings
        with self.randomness.own(), self.timed():
            while self.epoch <= until and self.running():
                self.train_epoch(safe_point)
                if self.epoch % settings.eval_every == 0 or self.epoch == epochs:
                    self.evaluate(on_row)
                if settings.schedule == "epoch" and self.epoch < epochs:
                    self.scheduler.step()
                self.epoch += 1
                on_epoch(self.epoch - 1)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count the time within as spent on training."""
        self.clock = time.perf_counter()
        try:
            yield
        finally:
            self.count_time()
            self.clock = None

    def count_time(self) -> None:
        """Add the time since the clock was last read."""
        if self.clock is not None:
            last, self.clock = self.clock, time.perf_counter()
            self.seconds += self.clock - last

    def train_epoch(self, safe_point: Callable[[], None]) -> None:
        """Take those steps of the epoch under way that are not taken yet."""
        self.training_step.set_progress((self.epoch - 1) / max(1, self.recipe.epochs - 1))
        for batch in self.batches.epoch():
            self.before_pruning()
            if self.recipe.settings.schedule == "step" and self.taken:
                self.scheduler.step()
            self.window.append(self.training_step(batch, self.taken))
            safe_point()

    def before_pruning(self) -> None:
        """At the step at which the pruner begins to act, keep the scores that the networks have without it."""
        if self.taken == self.recipe.pruner.first_step(self.steps) > 0:
            self.unpruned = self.evaluation.validation("unpruned/val")

    def running(self) -> list[int]:
        """Return the members that still train."""
        return [index for index, member in enumerate(self.members) if member.status == "running"]

    def evaluate(self, on_row: OnRow) -> None:
        """Read the window, add a row for each running member, keep the best, end what diverged or waits too long."""
        kind = self.recipe.kind
        objectives, losses = (torch.stack(values, dim=1).cpu() for values in zip(*self.window, strict=True))
        self.count_time()
        self.step, self.window = self.taken, []
        self.threads.keep_up(self.seconds, self.step)
        mean_loss = prediction.reported(kind, losses.mean(dim=1)).tolist()
        last_loss = prediction.reported(kind, losses[:, -1]).tolist()
        common = {"epoch": self.epoch, "step": self.step, "lr": self.optimizer.param_groups[0]["lr"]}
        measured = self.measured()
        improved, ended = [], []
        for index in self.running():
            member = self.members[index]
            if (reason := self.divergence(objectives[index], measured[index].get("val/loss", 0.0))) is not None:
                member.status, member.reason = "failed", reason
                ended.append(index)
                continue
            member.last_row = common | {"train/loss": mean_loss[index]} | measured[index]
            member.last_row["train/objective"] = objectives[index].mean().item()
            on_row(index, member.last_row)
            if member.is_best:
                member.best_row, member.waited = member.last_row, 0
                improved.append(index)
            else:
                member.waited += 1
            if (reason := self.enough(member, last_loss[index])) is not None:
                member.status, member.reason = "finished", reason
                ended.append(index)
        self.stack.copy_members(self.stack.tensors, self.best, improved)
        self.stack.copy_members(self.stack.tensors, self.last, ended)
        self.clock = time.perf_counter()

    def measured(self) -> list[Row]:
        """Return what a row of the history has of each network."""
        scores = self.evaluation.validation("val", self.recipe.measures)
        weight_decay = self.training_step.regularizer.weight_decay
        if not weight_decay:
            return scores
        more = self.evaluation.decay_objectives(self.training_step.lams * weight_decay)
        return [first | then for first, then in zip(scores, more, strict=True)]

    def divergence(self, objectives: Tensor, val_loss: float) -> str | None:
        """Return in words which of these objectives (steps,) is not finite, or that the validation loss is not.

        A refit has no validation loss, and is judged by its objectives alone.
        """
        broken = (~objectives.isfinite()).nonzero()
        if len(broken):
            at = int(broken[0])
            step = self.step - len(objectives) + 1 + at
            return f"diverged: the objective is {objectives[at].item():g} at step {step}"
        if not math.isfinite(val_loss):
            return f"diverged: the validation loss is {val_loss:g} after step {self.step}"
        return None

    def enough(self, member: Progress, loss: float) -> str | None:
        """Return in words why a member need not train on; None where it should."""
        settings = self.recipe.settings
        if settings.target_loss is not None and loss <= settings.target_loss:
            return f"the loss is {loss:.3g} at step {self.step}"
        if settings.early_stopping is not None and member.waited >= settings.early_stopping:
            return f"early stopping at epoch {self.epoch}"
        return None

    def state(self) -> dict[str, Any]:
        """Return all that decides the rest of the run; `load_state` of it in a new trainer continues bit for bit."""
        self.count_time()
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
            "autocast": self.training_step.autocast_type,
            "threads": self.threads.state(),
            "compiled": self.compiling.taken,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from `state`, of the same stack."""
        members, device = range(self.stack.size), self.stack.device
        self.stack.copy_members(state["tensors"], self.stack.everything, members)
        self.stack.copy_members(state["last"], self.last, members)
        self.stack.copy_members(state["best"], self.best, members)
        self.optimizer.load_state_dict(state["optimizer"])
        mark_stepped(self.optimizer)
        self.scheduler.load_state_dict(state["scheduler"])
        self.batches.load_state(state["batches"])
        self.randomness.load_state(state["randomness"])
        self.members = [Progress(**member) for member in state["members"]]
        self.window = [(objective.to(device), loss.to(device)) for objective, loss in state["window"]]
        self.epoch, self.step, self.seconds = state["counters"]
        if self.taken:
            self.recipe.pruner.at_step(self.stack.model, self.taken - 1, self.steps)  # as the last step left the layers
        self.unpruned = state["unpruned"]
        self.training_step.set_autocast(state["autocast"])
        self.threads.load_state(state["threads"])
        self.compiling.taken = state["compiled"]

    def select(self) -> None:
        """Put the selected parameters (the last, or the best by validation loss) of every member into the stack.

        It is a stack of the networks that are saved from here on, where others were trained in their place.
        """
        if saves_another_form(self.training_step.regularizer):
            last, best, last_step = (Stack(self.saved_networks(values)) for values in (self.last, self.best, None))
            self.stack, self.last, self.best = last_step, last.tensors, best.tensors
            self.evaluation = self.evaluation.of(self.stack)
        chosen = self.best if self.recipe.settings.select == "best" else self.last
        self.stack.copy_members(chosen, self.stack.tensors, range(self.stack.size))

    def saved_networks(self, values: Mapping[str, Tensor] | None = None) -> list[nn.Module]:
        """Return the networks that are saved in the place of those that were trained, with these tensors if given."""
        form = self.training_step.regularizer.saved_form
        return [form(self.stack.network(index, values), model) for index, model in enumerate(self.recipe.models)]

    def followed_by(self, recipe: Recipe) -> "Trainer":
        """Return the trainer of a recipe that goes on where this one ends, with all members that did not diverge."""
        after = Trainer(recipe)
        after.epoch, after.step, after.seconds = self.epoch, self.step, self.seconds
        after.threads.load_state(self.threads.state())
        after.members = [
            replace(member) if member.status == "failed" else Progress(last_row=member.last_row)
            for member in self.members
        ]
        scores = after.evaluation.validation("pruned/val")
        earlier: list[Row] = self.unpruned or [{} for _ in scores]
        after.unpruned = [first | then for first, then in zip(earlier, scores, strict=True)]
        return after

    def outcomes(self) -> Iterator[Outcome]:
        """Test the selected networks, pruned where the recipe says so, and yield what came of each member."""
        return outcomes(self)
