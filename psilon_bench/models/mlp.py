"""Multilayer perceptrons: P-Net, S-Net with and without weight normalisation, and the usual MLP are one class."""

import copy
import itertools
from typing import Any, Literal

from pydantic import PositiveInt
from torch import Tensor, nn

from psilon_bench.models.compact import alive_units, without_dead_units
from psilon_bench.models.linear import Depth, Init, Linear, NormLinear
from psilon_bench.models.offers import (
    Bound,
    HasAliveUnits,
    HasCompact,
    HasInputBounds,
    HasNormLayers,
    HasPathNorm,
    HasPowerSum,
    HasUnits,
    Pair,
)
from psilon_bench.models.path_norm import input_path_norms, path_norm

# name -> (module, Lipschitz constant); GELU's slope peaks at 1.129 (at x = sqrt 2)
ACTIVATIONS: dict[str, tuple[nn.Module, float]] = {
    "relu": (nn.ReLU(inplace=True), 1.0),
    "leaky_relu": (nn.LeakyReLU(inplace=True), 1.0),
    "tanh": (nn.Tanh(), 1.0),
    "gelu": (nn.GELU(), 1.129),
}
HOMOGENEOUS = ("relu", "leaky_relu")


class MLP(nn.Module, HasNormLayers, HasCompact, HasAliveUnits, HasPowerSum, HasPathNorm, HasInputBounds, HasUnits):
    r"""`depth` hidden layers of width `hidden`, then a linear output layer; (batch, features) -> (batch, outputs).

    normalization: None for plain layers, else the q of `NormLinear`. `share`: one length g per hidden layer; the
    output layer always has one per output.
    P-Net (Biswas 2024): q = 1, share. S-Net with WN (Salimans & Kingma 2016): q = 2, one g per row.
    """

    bounds: tuple[Bound, ...] = ("improved",)
    layers: Any  # nn.ModuleList of Linear or NormLinear

    def __init__(
        self,
        num_features: PositiveInt,
        num_outputs: PositiveInt,
        hidden: PositiveInt,
        depth: Depth,
        normalization: Literal[1, 2] | None = None,
        share: bool = False,
        activation: Literal["relu", "leaky_relu", "tanh", "gelu"] = "relu",
        init: Init = "orthogonal",
    ) -> None:
        super().__init__()
        self.q, self.share = normalization, share
        self.activation_name = activation
        widths = [num_features, *[hidden] * depth, num_outputs]
        last = depth
        self.layers = nn.ModuleList(
            Linear(fan_in, fan_out, init)
            if normalization is None
            else NormLinear(fan_in, fan_out, normalization, share and index != last, init)
            for index, (fan_in, fan_out) in enumerate(itertools.pairwise(widths))
        )
        self.activation = ACTIVATIONS[activation][0]

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, outputs) of inputs (batch, ...), flattened."""
        x = x.flatten(1)
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return self.layers[-1](x)

    def weights(self) -> list[Tensor]:
        """Effective weight matrices W_1 ... W_K, each (out, in); biases are not among them."""
        return [layer.weight for layer in self.layers]

    def power_sum(self, p: float) -> Tensor:
        """sum |w|^p over all effective weights, without building them where layers are normalised."""
        return sum((layer.power_sum(p) for layer in self.layers[1:]), start=self.layers[0].power_sum(p))

    def plain(self) -> "MLP":
        """The network with plain layers that does the same."""
        network = copy.copy(self)
        network._modules = {
            "layers": nn.ModuleList(layer.plain() for layer in self.layers),
            "activation": self.activation,
        }
        network.q, network.share = None, False
        return network

    @property
    def homogeneous(self) -> bool:
        """Whether activation(c x) = c activation(x) for c > 0."""
        return self.activation_name in HOMOGENEOUS

    def activations(self) -> list[nn.Module]:
        """What comes behind each layer but the last."""
        return [self.activation] * (len(self.layers) - 1)

    def units(self) -> list[Pair]:
        """Layers (1, 2), (3, 4), ... as pairs; none where they are normalised, for then lengths scale units."""
        return [] if self.q else [Pair(*pair) for pair in zip(self.layers[::2], self.layers[1::2], strict=False)]

    def unpaired(self) -> list[nn.Module]:
        """The last layer where their number is odd."""
        paired = 2 * len(self.units())
        return list(self.layers[paired:])

    def norm_layers(self) -> list[NormLinear]:
        """The weight-normalised layers."""
        return [layer for layer in self.layers if isinstance(layer, NormLinear)]

    def compact(self) -> tuple["MLP", Tensor]:
        """A plain network without the dead units, and the indices of the inputs that it reads and takes."""
        network = self.plain()
        weights, biases, inputs = without_dead_units(
            [layer.weight for layer in network.layers], [layer.bias for layer in network.layers], network.activations()
        )
        network.layers = nn.ModuleList(map(Linear.of, weights, biases))
        return network, inputs

    def alive_units(self) -> list[Tensor]:
        """Of every hidden layer which units are not dead, a mask (units,)."""
        return alive_units(self.weights())

    @property
    def lipschitz_activation(self) -> float:
        """Lipschitz constant of the activation; the path norm bounds the network's where this is 1."""
        return ACTIVATIONS[self.activation_name][1]

    def path_norm(self, bound: Bound = "improved") -> Tensor:
        """The 1-path-norm, a scalar, without variants.

        With q = 1 and shared lengths |g_1 ... g_(K-1)| sum_j |g_K,j|: O(K) work.
        """
        if self.q != 1 or not self.share:
            return path_norm(self.weights())
        product = self.layers[-1].g.abs().sum()
        for layer in self.layers[:-1]:
            product = product * layer.g.abs().squeeze()
        return product

    def lipschitz_bound(self) -> Tensor:
        """Certified: |f(x) - f(y)|_1 <= bound * |x - y|_inf. The path norm times the activations' constants."""
        return self.input_bounds().sum()

    def input_bounds(self) -> Tensor:
        """The part of `lipschitz_bound` that each input has, (features,): how far it alone moves the outputs (L1)."""
        return input_path_norms(self.weights()) * self.lipschitz_activation ** (len(self.layers) - 1)
