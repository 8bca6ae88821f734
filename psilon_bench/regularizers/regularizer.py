"""What the trainer asks of a regularizer: a penalty in the objective, a change of the weights around the step."""

from typing import Any, ClassVar

from torch import Tensor, nn
from torch.optim import Optimizer


class Regularizer:
    """None at all: the loss alone. The base of all others.

    Everything is written for ONE network; the trainer calls it for every member of a stack. `own` holds, as tensors,
    the arguments named in `stackable`: those in which the members of a stack may differ.
    """

    stackable: ClassVar[tuple[str, ...]] = ()
    weight_decay: float = 0.0  # f where it stands for lam f / 2 times the squared weights, so that F_wd is defined

    def check(self, model: nn.Module) -> None:
        """UsageError, as a clause that says why, where it does not fit the network."""

    def check_optimizer(self, optimizer: Optimizer) -> None:
        """UsageError, as a clause that says why, where its steps are not such as it needs."""

    def notes(self, model: Any) -> list[str]:
        """What a person should know of how it treats this network."""
        return []

    def values(self, progress: float) -> dict[str, float]:
        """The `stackable` arguments at this share of the run: 0 in the first epoch, 1 in the last (in a lone one 0)."""
        return {name: getattr(self, name) for name in self.stackable}

    def penalty(self, model: Any, **own: Tensor) -> Tensor:
        """What lam multiplies in the objective, a scalar."""
        parameter: Tensor = next(model.parameters())
        return parameter.new_zeros(())

    def at_start(self, model: Any, **own: Tensor) -> None:
        """Change the parameters in place before the first step."""

    def before_step(self, model: Any, step: Tensor, **own: Tensor) -> dict[str, Tensor]:
        """What after_step needs to know of the parameters before the optimizer's step; step = learning rate x lam."""
        return {}

    def after_step(self, model: Any, step: Tensor, before: dict[str, Tensor], **own: Tensor) -> None:
        """Change the parameters in place after the optimizer's step: a prox or a shrink."""
