"""Multilayer perceptrons whose every layer is two: each hidden unit is in a pair of layers."""

from typing import Literal

from pydantic import PositiveInt
from torch import Tensor, nn

from psilon_bench.models.linear import Depth, Init
from psilon_bench.models.mlp import MLP


class FactorizedMLP(MLP):
    r"""`depth` layers linear-activation-linear one after the other, B act(A h + a) + b, no activation between them.

    All widths are `hidden`: 784-400-400 | 400-400-400 | 400-400-10 is the MLP-3-400 of Yang et al. 2022 (depth 3,
    959,610 parameters). As deep and wide as the MLP of `depth` layers that it factorises, and every unit can go to 0.
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
        """What comes behind each layer but the last: nothing between the pairs."""
        return [self.activation if k % 2 == 0 else nn.Identity() for k in range(len(self.layers) - 1)]

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, outputs) of inputs (batch, ...), flattened."""
        x = x.flatten(1)
        for first, second in self.units():
            x = second(self.activation(first(x)))
        return x
