"""Multilayer perceptrons whose layers are products of two, so that each hidden unit lies in a pair of layers."""

from typing import Literal

from jaxtyping import Float
from pydantic import PositiveInt
from torch import Tensor, nn

from psilon_bench.models.linear import Depth, Init
from psilon_bench.models.mlp import MLP


class FactorizedMLP(MLP):
    r"""A network of `depth` blocks B act(A h + a) + b one after the other, without activations between the blocks.

    All widths are `hidden`. The MLP-3-400 of Yang et al. 2022 is 784-400-400 | 400-400-400 | 400-400-10 (depth 3,
    959,610 parameters). The network is as deep and wide as the MLP of `depth` layers that it factorises, and every
    unit of it can go to 0.
    """

    def __init__(
        self,
        num_features: PositiveInt,
        num_outputs: PositiveInt,
        hidden: PositiveInt,
        depth: Depth,
        activation: Literal["relu", "leaky_relu", "tanh", "gelu"],
        init: Init,
    ) -> None:
        super().__init__(num_features, num_outputs, hidden, 2 * depth - 1, None, False, activation, init)

    def activations(self) -> list[nn.Module]:
        """Return what comes behind each layer but the last: the activation within pairs, the identity between them."""
        return [self.activation if k % 2 == 0 else nn.Identity() for k in range(len(self.layers) - 1)]

    def forward(self, x: Float[Tensor, " batch *input"]) -> Float[Tensor, "batch output"]:
        """Return the logits of inputs, which are flattened."""
        h = x = x.flatten(1)
        for first, second in self.units():
            h = second(self.activation(first(h)))
        return self.with_trend(h, x)
