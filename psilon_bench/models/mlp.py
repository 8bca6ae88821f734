"""Multilayer perceptrons: P-Net, S-Net with and without weight normalisation, and the usual MLP are one class."""

import itertools
from typing import Any, Literal

from jaxtyping import Bool, Float, Int
from pydantic import PositiveInt
from torch import Tensor, nn

from psilon_bench.machine.torch_internals import with_modules
from psilon_bench.models.compact import alive_units, without_dead_units
from psilon_bench.models.linear import Depth, Init, Linear, NormLinear
from psilon_bench.models.monotone import MonotoneInputs
from psilon_bench.models.offers import (
    Bound,
    HasAliveUnits,
    HasCompact,
    HasInputBounds,
    HasNormLayers,
    HasPathNorm,
    HasPowerSum,
    HasSlopes,
    HasUnits,
    Pair,
)
from psilon_bench.models.path_norm import input_path_norms, path_norm
from psilon_bench.models.slopes import SlopeLayer, linear_slopes

# name -> (module, Lipschitz constant); GELU's slope peaks at 1.129 (at x = sqrt 2)
ACTIVATIONS: dict[str, tuple[nn.Module, float]] = {
    "relu": (nn.ReLU(inplace=True), 1.0),
    "leaky_relu": (nn.LeakyReLU(inplace=True), 1.0),
    "tanh": (nn.Tanh(), 1.0),
    "gelu": (nn.GELU(), 1.129),
}
HOMOGENEOUS = ("relu", "leaky_relu")
SLOPES = {"relu": 0.0, "leaky_relu": 0.01, "tanh": 0.0, "gelu": -0.129}  # the smallest slope of each


class MLP(
    MonotoneInputs,
    HasNormLayers,
    HasCompact,
    HasAliveUnits,
    HasPowerSum,
    HasPathNorm,
    HasInputBounds,
    HasSlopes,
    HasUnits,
):
    r"""A network of `depth` hidden layers of width `hidden` and a linear output layer.

    `normalization` is None for plain layers, else the q of `NormLinear`. With `share` a hidden layer has one length g;
    the output layer always has one per output. P-Net (Biswas 2024) has q = 1 and shares, S-Net with weight
    normalisation (Salimans & Kingma 2016) has q = 2 and one g per row.

    Where it is asked to be monotone, see `MonotoneInputs`, its weights, units and path norms are those of the network
    without the linear term.
    """

    bounds: tuple[Bound, ...] = ("improved",)
    layers: Any  # nn.ModuleList of Linear or NormLinear

    def __init__(
        self,
        num_features: PositiveInt,
        num_outputs: PositiveInt,
        hidden: PositiveInt,
        depth: Depth,
        normalization: Literal[1, 2] | None,
        share: bool,
        activation: Literal["relu", "leaky_relu", "tanh", "gelu"],
        init: Init,
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

    def forward(self, x: Float[Tensor, " batch *input"]) -> Float[Tensor, "batch output"]:
        """Return the logits of inputs, which are flattened."""
        h = x = x.flatten(1)
        for layer in self.layers[:-1]:
            h = self.activation(layer(h))
        return self.with_trend(self.layers[-1](h), x)

    def weights(self) -> list[Float[Tensor, "_unit _fan_in"]]:
        """Return the effective weight matrices W_1 ... W_K, without biases."""
        return [layer.weight for layer in self.layers]

    def power_sum(self, p: float) -> Float[Tensor, ""]:
        """Return sum |w|^p over all effective weights, which are not built where layers are normalised."""
        return sum((layer.power_sum(p) for layer in self.layers[1:]), start=self.layers[0].power_sum(p))

    def plain(self) -> "MLP":
        """Return the network of plain layers that computes the same function."""
        layers = nn.ModuleList(layer.plain() for layer in self.layers)
        network = with_modules(self, {"layers": layers, "activation": self.activation})
        network.q, network.share = None, False
        return network

    @property
    def homogeneous(self) -> bool:
        """Return whether activation(c x) = c activation(x) for every c > 0."""
        return self.activation_name in HOMOGENEOUS

    def activations(self) -> list[nn.Module]:
        """Return the activation behind each layer but the last."""
        return [self.activation] * (len(self.layers) - 1)

    @property
    def piecewise_linear(self) -> bool:
        """Return whether the activation has two slopes, behind and before 0."""
        return self.homogeneous

    def own_slope_layers(self) -> list[SlopeLayer]:
        """Return the layers with the two slopes of the activation before each, of which the identity has but one."""
        both = self.lipschitz_activation, SLOPES[self.activation_name]
        before = [both if activation is self.activation else (1.0, 1.0) for activation in self.activations()]
        return [linear_slopes(layer, *s) for layer, s in zip(self.layers, [(1.0, 1.0), *before], strict=True)]

    def units(self) -> list[Pair]:
        """Return layers (1, 2), (3, 4), ... as pairs; none where they are normalised, for then lengths scale units."""
        return [] if self.q else [Pair(*pair) for pair in zip(self.layers[::2], self.layers[1::2], strict=False)]

    def unpaired(self) -> list[nn.Module]:
        """Return the last layer where the number of layers is odd, and all layers where they are normalised."""
        paired = 2 * len(self.units())
        return list(self.layers[paired:])

    def norm_layers(self) -> list[NormLinear]:
        """Return the weight-normalised layers."""
        return [layer for layer in self.layers if isinstance(layer, NormLinear)]

    def compact(self) -> tuple["MLP", Int[Tensor, " input"]]:
        """Return a plain network without the dead units, and the indices of the inputs that it reads and takes."""
        network = self.plain()
        weights, biases, inputs = without_dead_units(
            [layer.weight for layer in network.layers], [layer.bias for layer in network.layers], network.activations()
        )
        network.layers = nn.ModuleList(map(Linear.of, weights, biases))
        network.monotone_on(inputs, self)
        return network, inputs

    def alive_units(self) -> list[Bool[Tensor, " _unit"]]:
        """Return a mask for each hidden layer, of the units that are not dead."""
        return alive_units(self.weights())

    @property
    def lipschitz_activation(self) -> float:
        """Return the Lipschitz constant of the activation; where it is 1, the path norm bounds that of the network."""
        return ACTIVATIONS[self.activation_name][1]

    def path_norm(self, bound: Bound = "improved") -> Float[Tensor, ""]:
        """Return the 1-path-norm 1^T |W_K| ... |W_1| 1, for which this network has one bound alone.

        With q = 1 and shared lengths it is |g_1 ... g_(K-1)| sum_j |g_K,j|, which takes O(K) work (Biswas 2024).
        """
        assert bound in self.bounds, bound
        if self.q != 1 or not self.share:
            return path_norm(self.weights())
        product = self.layers[-1].g.abs().sum()
        for layer in self.layers[:-1]:
            product = product * layer.g.abs().squeeze()
        return product

    def lipschitz_bound(self) -> Float[Tensor, ""]:
        """Return B with |f(x) - f(y)|_1 <= B |x - y|_inf: the path norm times the activations' Lipschitz constants.

        With that of the linear term beside it where the network is monotone.
        """
        return self.input_bounds().sum()

    def own_bounds(self) -> Float[Tensor, " input"]:
        """Return how far the outputs without a linear term move at most (L1) when one input moves by 1."""
        return input_path_norms(self.weights()) * self.lipschitz_activation ** (len(self.layers) - 1)
