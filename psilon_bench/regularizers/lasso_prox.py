"""L1 by a proximal step: exact zeros, and weights that come back from them."""

from torch import Tensor, nn

from psilon_bench.errors import UsageError
from psilon_bench.regularizers.regularizer import Regularizer
from psilon_bench.regularizers.shrunk import Group, clause_against, shrunk


class LassoProx(Regularizer):
    r"""After the optimizer's step w <- argmin_v step |v| + (v - w)^2 / 2 = sign(w) max(|w| - step, 0); step = lr x lam.

    For plain SGD this is proximal gradient descent on loss + lam sum |w| (ISTA); for Adam the threshold is not
    rescaled by its second moment. exclude: as in `PNormDecay`.
    """

    def __init__(self, exclude: list[Group]) -> None:
        self.exclude = exclude

    def check(self, model: nn.Module) -> None:
        """UsageError for weights that have no size."""
        if clause := clause_against(model, self.exclude):
            raise UsageError(clause)

    def after_step(self, model: nn.Module, step: Tensor, before: dict[str, Tensor], **own: Tensor) -> None:
        """Soft-threshold."""
        for weight in shrunk(model, self.exclude).values():
            weight.copy_(weight.sign() * (weight.abs() - step).clamp_min_(0))
