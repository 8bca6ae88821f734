"""The lasso by a proximal step, which gives exact zeros from which weights can come back."""

from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from psilon_bench.errors import UsageError
from psilon_bench.regularizers.regularizer import Regularizer
from psilon_bench.regularizers.shrunk import Group, clause_against, shrunk


class LassoProx(Regularizer):
    r"""The prox w <- argmin_v step |v| + 1/2 (v - w)^2 = sign(w) max(|w| - step, 0) after the optimizer's step.

    `step` is the learning rate times lambda. With plain SGD this is proximal gradient descent on loss + lam sum |w|
    (ISTA); with Adam the threshold is not rescaled by its second moment. `exclude` is as in `PNormDecay`.
    """

    def __init__(self, exclude: list[Group]) -> None:
        self.exclude = exclude

    def check(self, model: nn.Module) -> None:
        """Raise a UsageError where the sizes of single weights mean nothing, or where there are none."""
        if clause := clause_against(model, self.exclude):
            raise UsageError(clause)

    @override
    def after_step(
        self, model: nn.Module, step: Float[Tensor, ""], before: dict[str, Tensor], **own: Float[Tensor, ""]
    ) -> None:
        """Soft-threshold the weights in place."""
        for weight in shrunk(model, self.exclude).values():
            weight.copy_(weight.sign() * (weight.abs() - step).clamp_min_(0))
