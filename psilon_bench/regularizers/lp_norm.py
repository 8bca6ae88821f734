"""L2, L1 (the lasso) and every other p-norm of all weights, as a penalty that plain gradients follow."""

from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from psilon_bench.errors import UsageError
from psilon_bench.models.offers import HasPowerSum
from psilon_bench.regularizers.regularizer import Regularizer


class LpNorm(Regularizer):
    r"""The penalty scale * sum_ij |W_ij|^p over the effective weights W of all layers.

    Biases are excluded; gains count as parts of W. There is no factor 1/p: p = 2 with scale = 1 is ||W||_F^2, whose
    gradient is 2 W, and scale = 0.5 is the usual weight decay lam/2 ||W||^2; p = 1 is the lasso. The gradient at w = 0
    is 0 for every p; for p < 1 it grows without bound as w approaches 0.
    """

    def __init__(
        self, p: Annotated[float, Field(gt=0, allow_inf_nan=False)], scale: Annotated[float, Field(gt=0)]
    ) -> None:
        self.p, self.scale = p, scale
        self.weight_decay = 2 * scale if p == 2 else 0.0

    def check(self, model: nn.Module) -> None:
        """Raise a UsageError where the network does not offer the sums of powers of its weights."""
        if not isinstance(model, HasPowerSum):
            raise UsageError(
                f"it needs the weights, and {type(model).__name__} offers no power_sum(p) "
                "(see HasPowerSum in psilon_bench.models.offers)"
            )

    @override
    def penalty(self, model: HasPowerSum, **own: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """Return scale * sum |w|^p."""
        return self.scale * model.power_sum(self.p)
