"""What the trainer and the runner ask of a pruner."""

from typing import Any

from torch import nn

from psilon_bench.config.sections import TrainerSection


class Pruner:
    """None at all. The base of all others, each of which acts in one of three places, on one network at a time."""

    def check(self, model: nn.Module, trainer: TrainerSection, steps: int) -> None:
        """UsageError, as a clause that says why, where it does not fit the network or a run of so many steps."""

    def first_step(self, steps: int) -> int:
        """The step, of so many from 0, before which scores without it are kept; `steps`: after training, 0: never."""
        return 0

    def at_step(self, model: Any, step: int, steps: int) -> None:
        """Before each step, and once with step = steps at the end: set what the layers do with their parameters.

        By the step alone: a run that goes on from a checkpoint has fresh layers and calls it once for the last step.
        """

    def after_step(self, model: Any) -> None:
        """Before the first step and after each: change the parameters in place."""

    def prune(self, model: Any) -> None:
        """After training: change the parameters of the plain network in place."""
