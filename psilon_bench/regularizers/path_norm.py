"""The 1-path-norm of the network, a bound of its Lipschitz constant, as a penalty."""

from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from psilon_bench.errors import UsageError
from psilon_bench.models.offers import Bound, HasPathNorm
from psilon_bench.regularizers.regularizer import Regularizer


class PathNorm(Regularizer):
    r"""The penalty P = 1^T |W_K| ... |W_1| 1 without biases, or one of three bounds of residual networks (Biswas 2024).

    `bound` says which of those in `CReLUResNet.path_norm`; other networks have `improved` alone. P bounds the Lipschitz
    constant from L_inf inputs to L1 outputs where the slope of the activation is at most 1, so others are refused.
    """

    def __init__(self, bound: Bound) -> None:
        self.bound: Bound = bound

    def check(self, model: nn.Module) -> None:
        """Raise a UsageError where the network has no such path norm, or where it would bound nothing."""
        if not isinstance(model, HasPathNorm):
            raise UsageError(
                f"it needs a 1-path-norm, and {type(model).__name__} offers no path_norm() "
                "(see HasPathNorm in psilon_bench.models.offers)"
            )
        if self.bound not in model.bounds:
            raise UsageError(
                f"reg.bound={self.bound} is for residual networks, and {type(model).__name__} has one path norm "
                f"(set reg.bound={model.bounds[0]})"
            )
        if model.lipschitz_activation > 1:
            raise UsageError(
                f"it bounds the Lipschitz constant only for activations with slope at most 1, and the model's has "
                f"{model.lipschitz_activation} (take model.activation=relu, leaky_relu or tanh)"
            )

    @override
    def penalty(self, model: HasPathNorm, **own: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """Return the path norm."""
        return model.path_norm(self.bound)
