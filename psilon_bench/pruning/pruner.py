"""The contract of pruners: when they act on a network, and how."""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from psilon_bench.config.sections import TrainerSection


class Pruner:
    """The base class of all pruners; by itself it prunes nothing.

    A pruner acts in one of three places: on how the layers compute (`at_step`), on the parameters in training
    (`after_step`), or on the plain network after training (`prune`). It sees one network at a time.
    """

    @property
    def prunes(self) -> bool:
        """Return whether the pruner does anything."""
        return type(self) is not Pruner

    def check(self, model: Any, trainer: TrainerSection, steps: int) -> None:
        """Raise a UsageError, a clause that says why, where the pruner does not fit the model or the run.

        The model is a network or a baseline; the run has `steps` steps before any fine-tuning.
        """

    def first_step(self, steps: int) -> int:
        """Return the step from which the pruner acts, in a run of `steps` steps counted from 0.

        The scores that networks have before it are kept. `steps` means after training, 0 that there is no before.
        """
        return 0

    def at_step(self, model: Any, step: int, steps: int) -> None:
        """Set what the layers do with their parameters, before each step and once with step = steps at the end.

        It depends on the step alone: a run that goes on from a checkpoint has new layers and calls it for one step.
        """

    def after_step(self, model: Any) -> None:
        """Change the parameters in place, before the first step and after each."""

    def prune(self, model: Any, x: Float[Tensor, " row *input"]) -> dict[str, float]:
        """Change the parameters of the plain network in place, after training; x are the inputs of the training rows.

        Return what the pruner promises; empty where it promises nothing. `change`: the outputs (L1) move by no more for
        all inputs of at most the sizes that they have in training rows, in exact arithmetic.
        """
        return {}
