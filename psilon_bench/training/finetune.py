"""Training, then pruning, then fine-tuning of the weights that are left."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from psilon_bench.config.sections import HardwareSection
from psilon_bench.pruning.pruner import Pruner
from psilon_bench.regularizers.regularizer import Regularizer
from psilon_bench.training.engine import OnRow, Outcome, Progress
from psilon_bench.training.outcomes import States, outcomes, pruned_networks, trained_states
from psilon_bench.training.recipe import Recipe
from psilon_bench.training.stack import Stack
from psilon_bench.training.trainer import Trainer


class KeepZeros(Regularizer):
    """No penalty; a weight that is 0 before a step is exactly 0 after it. Biases and gains are not weights."""

    @override
    def before_step(self, model: Any, step: Tensor, **values: Tensor) -> dict[str, Tensor]:
        """Return where the weights are not 0, by name."""
        return {name: weight != 0 for name, weight in model.named_parameters() if weight.dim() > 1}

    @override
    def after_step(self, model: Any, step: Tensor, before: dict[str, Tensor], **values: Tensor) -> None:
        """Put the zeros back."""
        for name, weight in model.named_parameters():
            if name in before:
                weight.mul_(before[name])


class FineTuning:
    """Trains like Trainer, prunes, then trains what is left for `trainer.prune_then_finetune` epochs on the loss alone.

    The selected networks are pruned and become plain ones. Their fine-tuning has no regularizer, an optimizer that
    begins anew at the learning rate of the last epoch, and the batches of the first ones (Han et al. 2015; Renda et
    al. 2020). `unpruned/val/*` are the scores before the pruner acts, `pruned/val/*` those before the fine-tuning.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.trainer = recipe, Trainer(recipe)
        self.trained: list[States] | None = None  # what training gave, once it is pruned

    @property
    def members(self) -> list[Progress]:
        """Return how far each network has come."""
        return self.trainer.members

    @property
    def precision(self) -> str:
        """Return the type in which steps multiply matrices."""
        return self.trainer.precision

    @property
    def device(self) -> str:
        """Return where the networks are."""
        return self.trainer.device

    @property
    def epochs(self) -> int:
        """Return the epochs of the training and of the fine-tuning."""
        return self.trainer.epochs

    @property
    def at_work(self) -> list[int]:
        """Return all members: they train together."""
        return self.trainer.at_work

    def tune(self, hardware: HardwareSection) -> str | None:
        """Tune the steps of the training, as its networks are now; those of the fine-tuning are few."""
        return self.trainer.tune(hardware)

    def run(
        self,
        on_row: OnRow,
        on_epoch: Callable[[int], None] = lambda _: None,
        safe_point: Callable[[], None] = lambda: None,
    ) -> None:
        """Train, prune and train on; the epochs are counted on."""
        if self.trained is None:
            self.trainer.run(on_row, on_epoch, safe_point)
            self.prune()
        self.trainer.run(on_row, on_epoch, safe_point)

    def advance(
        self, until: int, on_row: OnRow, on_epoch: Callable[[int], None], safe_point: Callable[[], None]
    ) -> None:
        """Train up to the end of an epoch that lies before the pruning."""
        self.trainer.advance(until, on_row, on_epoch, safe_point)

    def prune(self) -> None:
        """Go over to the fine-tuning, with all members that did not diverge."""
        before = self.trainer
        before.select()
        self.trained = trained_states(before)
        lr = before.optimizer.param_groups[0]["lr"]
        self.trainer = before.followed_by(self.tuning(pruned_networks(before)[0], lr))
        self.recipe = self.trainer.recipe  # the stack that was trained is needed no more

    def tuning(self, networks: list[nn.Module], lr: float) -> Recipe:
        """Return the recipe of the fine-tuning: no regularizer, no pruner, a constant rate, to the last epoch."""
        return replace(
            self.recipe,
            stack=Stack(networks),
            regularizers=[KeepZeros()] * len(networks),
            lams=[0.0] * len(networks),
            epochs=self.recipe.settings.all_epochs,
            lr=lr,
            scheduler=partial(torch.optim.lr_scheduler.ConstantLR, factor=1.0, total_iters=0),
            pruner=Pruner(),
        )

    def outcomes(self) -> Iterator[Outcome]:
        """Test what came out of the fine-tuning, and yield what came of each member."""
        return outcomes(self.trainer, self.trained)

    def state(self) -> dict[str, Any]:
        """Return all that decides the rest of the run."""
        return self.trainer.state() | {"trained": self.trained}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from `state`; in the fine-tuning only what the networks are made of is there to be filled."""
        self.trained = state["trained"]
        if self.trained is not None:
            networks: list[Any] = [*self.trainer.saved_networks()]
            self.trainer = Trainer(self.tuning([network.plain() for network in networks], self.recipe.lr))
        self.trainer.load_state(state)
