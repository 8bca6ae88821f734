"""The 1-path-norm of the network as penalty: a bound of its Lipschitz constant."""

from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from psilon_bench.errors import UsageError


@runtime_checkable
class HasPathNorm(Protocol):
    """A network with a 1-path-norm; `lipschitz_activation` is the Lipschitz constant of its activation."""

    lipschitz_activation: float

    def path_norm(self) -> Tensor: ...


class PathNorm:
    r"""P = 1^T |W_K| ... |W_1| 1, biases excluded. Biswas 2024.

    It bounds the Lipschitz constant from L_inf inputs to L1 outputs where the activation's is at most 1, so other
    activations are refused.
    """

    def check(self, model: nn.Module) -> None:
        """UsageError where the network has no path norm, or it would bound nothing."""
        if not isinstance(model, HasPathNorm):
            raise UsageError(f"it needs a 1-path-norm, and {type(model).__name__} offers no path_norm()")
        if model.lipschitz_activation > 1:
            raise UsageError(
                f"it bounds the Lipschitz constant only for activations with slope at most 1, and the model's has "
                f"{model.lipschitz_activation} (take model.activation=relu, leaky_relu or tanh)"
            )

    def penalty(self, model: HasPathNorm) -> Tensor:
        """The path norm, a scalar."""
        return model.path_norm()
