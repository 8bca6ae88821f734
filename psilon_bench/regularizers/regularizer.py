"""The contract of regularizers: a penalty in the objective, and changes of the parameters around the step."""

from collections.abc import Sequence
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer


class Regularizer:
    """The base class of all regularizers; by itself it regularises nothing.

    Everything is written for ONE network; the trainer calls it for every member of a stack. `own` holds, as scalar
    tensors, the arguments named in `stackable`: those in which the members of a stack may differ. `step` is the
    learning rate times lambda. `at_start`, `before_step` and `after_step` are called without gradients.
    """

    stackable: ClassVar[tuple[str, ...]] = ()
    weight_decay: float = 0.0  # f where the penalty stands for f/2 sum w^2, so that F_wd is defined; else 0

    def check(self, model: Any) -> None:
        """Raise a UsageError, a clause that says why, where the regularizer does not fit the network or baseline."""

    def check_optimizer(self, optimizer: Optimizer) -> None:
        """Raise a UsageError, a clause that says why, where the regularizer needs other steps than this optimizer's."""

    def notes(self, model: Any) -> list[str]:
        """Return sentences that tell the user how the regularizer treats this network."""
        return []

    def values(self, progress: float) -> dict[str, float]:
        """Return the `stackable` arguments at a share of the run.

        The share is 0 in the first epoch and 1 in the last; in a run of one epoch it is 0.
        """
        return {name: getattr(self, name) for name in self.stackable}

    def trained_form(self, model: Any, columns: Sequence[str]) -> Any:
        """Return the network that is trained in the place of the model; by itself the model.

        A copy, where it has other parameters, such as factors of weights, or buffers for what the penalty needs to know
        of the data. columns: for each input the name of the column of the table that it is made of.
        """
        return model

    def saved_form(self, network: Any, model: Any) -> Any:
        """Return the network that is tested, saved and pruned in the place of the one that was trained.

        It is a copy of the model, as it was before `trained_form`, with other values.
        """
        return network

    def penalty(self, model: Any, **own: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """Return what lambda multiplies in the objective, loss + lambda * penalty."""
        parameter: Tensor = next(model.parameters())
        return parameter.new_zeros(())

    def at_start(self, model: Any, **own: Float[Tensor, ""]) -> None:
        """Change the parameters in place before the first step."""

    def before_step(self, model: Any, step: Float[Tensor, ""], **own: Float[Tensor, ""]) -> dict[str, Tensor]:
        """Return what `after_step` needs to know of the parameters before the optimizer's step."""
        return {}

    def after_step(
        self, model: Any, step: Float[Tensor, ""], before: dict[str, Tensor], **own: Float[Tensor, ""]
    ) -> None:
        """Change the parameters in place after the optimizer's step, by a prox or a shrink."""


def saves_another_form(regularizer: Regularizer) -> bool:
    """Return whether networks of other parameters than the model's are trained, and turned into it at the end."""
    return type(regularizer).saved_form is not Regularizer.saved_form
