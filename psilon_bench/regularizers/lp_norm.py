"""L2, L1 (lasso) and any other p-norm of all weights, as a penalty by plain gradient."""

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from psilon_bench.errors import UsageError
from psilon_bench.models.offers import HasPowerSum
from psilon_bench.regularizers.regularizer import Regularizer


class LpNorm(Regularizer):
    r"""scale * sum_ij |W_ij|^p over the effective weights of all layers; biases are excluded, gains only as part of W.

    No factor 1/p: p = 2, scale = 1 is ||W||_F^2 (so gradient 2 W) and scale = 0.5 the usual weight decay lam/2 ||W||^2;
    p = 1 is the lasso. The gradient at w = 0 is 0 for every p; for p < 1 it grows without bound towards it.
    """

    def __init__(
        self, p: Annotated[float, Field(gt=0, allow_inf_nan=False)], scale: Annotated[float, Field(gt=0)] = 1.0
    ) -> None:
        self.p, self.scale = p, scale
        self.weight_decay = 2 * scale if p == 2 else 0.0

    def check(self, model: nn.Module) -> None:
        """UsageError where the network does not offer its weights."""
        if not isinstance(model, HasPowerSum):
            raise UsageError(
                f"it needs the weights, and {type(model).__name__} offers no power_sum(p) "
                "(see HasPowerSum in psilon_bench.models.offers)"
            )

    def penalty(self, model: HasPowerSum, **own: Tensor) -> Tensor:
        """The number itself, a scalar."""
        return self.scale * model.power_sum(self.p)
