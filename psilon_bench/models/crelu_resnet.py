"""CReLU residual networks: PSiLON ResNet and its relatives, with three bounds of their Lipschitz constant."""

from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import PositiveInt
from torch import Tensor, nn

from psilon_bench.machine.torch_internals import with_modules
from psilon_bench.models.compact import kept_entries
from psilon_bench.models.linear import Depth, Linear, NormLinear
from psilon_bench.models.monotone import MonotoneInputs
from psilon_bench.models.offers import (
    Bound,
    HasCompact,
    HasInputBounds,
    HasNormLayers,
    HasPathNorm,
    HasPowerSum,
    HasSlopes,
)
from psilon_bench.models.slopes import SlopeLayer, linear_slopes, roundings


class CReLULinear(NormLinear):
    r"""A layer z = W+ relu(h) - W- relu(-h) + b, in which the positive and the negative part of h have a matrix each.

    The parameter v is (unit, 2 fan_in), the directions of W+ beside those of W-. Row j of both is divided by the q-norm
    of max(|v+_j|, |v-_j|), elementwise, so that the rows of W~ = max(|W+|, |W-|) have q-norm |g_j| (Biswas 2024). It
    starts with W- = W+ orthogonal, so that it is linear in h, and with `length` in every g.
    """

    pairs = True

    def __init__(
        self, in_features: PositiveInt, out_features: PositiveInt, q: Literal[1, 2], share: bool, length: float
    ) -> None:
        self.length = length
        super().__init__(2 * in_features, out_features, q, share)

    def reset_parameters(self) -> None:
        """Draw V anew, with both halves alike; set g to the length of the start and b to 0."""
        super().reset_parameters()
        half = self.v.shape[1] // 2
        with torch.no_grad():
            nn.init.orthogonal_(self.v[:, :half])
            self.v[:, half:] = self.v[:, :half]
        nn.init.constant_(self.g, self.length)

    def sizes(self) -> Float[Tensor, "unit fan_in"]:
        """Return max(|V+|, |V-|), elementwise."""
        plus, minus = self.v.chunk(2, dim=1)
        # max(|a|, |b|) = (|a + b| + |a - b|) / 2, which backward() takes a third of the time of torch.maximum for
        return ((plus + minus).abs() + (plus - minus).abs()) / 2

    def row_norms(self) -> Float[Tensor, " unit"]:
        """Return the q-norm of max(|v+_j|, |v-_j|) for every row j."""
        if self.q == 1:
            plus, minus = self.v.chunk(2, dim=1)
            return ((plus + minus).abs().sum(dim=1) + (plus - minus).abs().sum(dim=1)) / 2
        return torch.linalg.vector_norm(self.sizes(), dim=1)

    def power_sum(self, p: float) -> Float[Tensor, ""]:
        """Return sum |w|^p over W+ and W-; there is no short cut, for the norm of a row is that of W~."""
        return self.power_sum_of_weights(p)

    def plain(self) -> "PlainCReLULinear":
        """Return a layer with plain weights that computes the same function."""
        return PlainCReLULinear.of(self.weight, self.bias)

    def forward(self, h: Float[Tensor, "batch fan_in"]) -> Float[Tensor, "batch unit"]:
        """Return the outputs as one product with [relu(h), min(h, 0)]."""
        return super().forward(crelu(h))


class PlainCReLULinear(Linear):
    """A CReLU layer with plain weights [W+, W-], (unit, 2 fan_in)."""

    def forward(self, h: Float[Tensor, "batch fan_in"]) -> Float[Tensor, "batch unit"]:
        """Return W+ relu(h) - W- relu(-h) + b."""
        return super().forward(crelu(h))


def crelu(h: Float[Tensor, "batch fan_in"]) -> Float[Tensor, "batch 2*fan_in"]:
    """Return the positive part of h and, beside it, the negative part min(h, 0)."""
    positive = h.relu()
    return torch.cat([positive, h - positive], dim=1)


def parts(layer: Any) -> tuple[Float[Tensor, "unit fan_in"], Float[Tensor, "unit fan_in"]]:
    """Return W+ and W- of a CReLU layer."""
    plus, minus = layer.weight.chunk(2, dim=1)
    return plus, minus


def reads(layer: Any) -> Bool[Tensor, "unit fan_in"]:
    """Return which outputs of a CReLU layer read which of its inputs."""
    plus, minus = parts(layer)
    return (plus != 0) | (minus != 0)


class CReLUResNet(MonotoneInputs, HasNormLayers, HasCompact, HasPowerSum, HasPathNorm, HasInputBounds, HasSlopes):
    r"""A network h_1 = W_1 x + b_1, h_k = h_(k-1) + CReLULinear_k(h_(k-1)), output = CReLULinear_K(h_(K-1)).

    It has `depth` hidden layers (so depth - 1 blocks) of width `hidden`. The normalization q and `share` are those of
    `NormLinear`; the output layer has one length per output. It starts with g = 0 in the blocks, which are then the
    identity, and g = 1 elsewhere. PSiLON ResNet (Biswas 2024) has q = 1 and shares.
    """

    lipschitz_activation = 1.0
    piecewise_linear = True
    bounds: tuple[Bound, ...] = ("improved", "original", "tight")
    first: Any
    blocks: Any  # nn.ModuleList of CReLULinear
    last: Any

    def __init__(
        self,
        num_features: PositiveInt,
        num_outputs: PositiveInt,
        hidden: PositiveInt,
        depth: Depth,
        normalization: Literal[1, 2],
        share: bool,
    ) -> None:
        super().__init__()
        self.q, self.share = normalization, share
        self.first = NormLinear(num_features, hidden, normalization, share)
        self.blocks = nn.ModuleList(
            CReLULinear(hidden, hidden, normalization, share, length=0.0) for _ in range(depth - 1)
        )
        self.last = CReLULinear(hidden, num_outputs, normalization, share=False, length=1.0)

    def forward(self, x: Float[Tensor, " batch *input"]) -> Float[Tensor, "batch output"]:
        """Return the logits of inputs, which are flattened."""
        x = x.flatten(1)
        h = self.first(x)
        for block in self.blocks:
            h = h + block(h)
        return self.with_trend(self.last(h), x)

    def plain(self) -> "CReLUResNet":
        """Return the network of plain layers that computes the same function."""
        blocks = nn.ModuleList(block.plain() for block in self.blocks)
        network = with_modules(self, {"first": self.first.plain(), "blocks": blocks, "last": self.last.plain()})
        network.q, network.share = None, False
        return network

    def weights(self) -> list[Float[Tensor, "_unit _fan_in"]]:
        """Return W_1, then W+ and W- of every block and of the output layer."""
        return [self.first.weight, *(part for layer in (*self.blocks, self.last) for part in parts(layer))]

    def power_sum(self, p: float) -> Float[Tensor, ""]:
        """Return sum |w|^p over all weights, without biases."""
        return sum((layer.power_sum(p) for layer in (*self.blocks, self.last)), start=self.first.power_sum(p))

    def path_norm(self, bound: Bound = "improved") -> Float[Tensor, ""]:
        r"""Return a bound of the Lipschitz constant from L_inf inputs to L1 outputs, one of three.

        improved  1^T W~_K prod_k (I + W~_k) |W_1| 1; with q = 1 and shared lengths |g_1| prod (1 + |g_k|) sum_j |g_K,j|
        original  the 1-path-norm of the net as drawn, blocks |[I + W+, I + W-]|: |I + W+| + |I + W-| a block
        tight     1^T W~_K prod_k max(|I + W+_k|, |I + W-_k|) |W_1| 1, the maximum elementwise

        Each bounds it: the Jacobian of block k takes every column from I + W+_k or from I + W-_k, so its absolute value
        is below max(|I + W+_k|, |I + W-_k|) elementwise, and so on for the output layer with W~_K. `tight` is never
        above the others: |I + W+-| <= I + W~, and a maximum is at most the sum.
        """
        if bound == "improved" and self.q == 1 and self.share:
            return self._closed_form()
        paths = self.first.weight.abs().sum(dim=1)
        for block in self.blocks:
            paths = self._block(block, bound) @ paths
        plus, minus = (part.abs() for part in parts(self.last))
        return ((plus + minus if bound == "original" else torch.maximum(plus, minus)) @ paths).sum()

    @staticmethod
    def _block(block: nn.Module, bound: Bound) -> Float[Tensor, "hidden hidden"]:
        """Return the matrix that bounds the paths through a block."""
        plus, minus = parts(block)
        identity = torch.eye(len(plus), dtype=plus.dtype, device=plus.device)
        if bound == "improved":
            return identity + torch.maximum(plus.abs(), minus.abs())
        plus, minus = (identity + plus).abs(), (identity + minus).abs()
        return plus + minus if bound == "original" else torch.maximum(plus, minus)

    def own_bounds(self) -> Float[Tensor, " input"]:
        """Return how far the outputs without a linear term move at most (L1) when one input moves by 1."""
        plus, minus = (part.abs() for part in parts(self.last))
        paths = torch.maximum(plus, minus).sum(dim=0)
        for block in reversed(self.blocks):
            paths = paths @ self._block(block, "tight")
        return paths @ self.first.weight.abs()

    def own_slope_layers(self) -> list[SlopeLayer]:
        """Return the first layer, the blocks with the identity in both of their slopes, and the output layer."""
        return [linear_slopes(self.first, 1.0, 1.0), *map(_block_slopes, self.blocks), _crelu_slopes(self.last)]

    def norm_layers(self) -> list[NormLinear]:
        """Return the weight-normalised layers."""
        return [layer for layer in (self.first, *self.blocks, self.last) if isinstance(layer, NormLinear)]

    @torch.no_grad()
    def compact(self) -> tuple["CReLUResNet", Int[Tensor, " input"]]:
        """Return a plain network of the coordinates of h that matter, and the indices of the inputs that it takes.

        A coordinate matters if the output layer reads it, or if a block reads it to change one that matters later.
        """
        network = self.plain()
        alive = reads(network.last).any(dim=0)
        for block in reversed(network.blocks):
            alive = alive | reads(block)[alive].any(dim=0)
        read, inputs = kept_entries(alive), kept_entries(network.first.weight[alive].any(dim=0))
        network.first = Linear.of(network.first.weight[read][:, inputs], network.first.bias[read])
        both = torch.cat([read, read])
        network.blocks = nn.ModuleList(
            PlainCReLULinear.of(block.weight[read][:, both], block.bias[read]) for block in network.blocks
        )
        network.last = PlainCReLULinear.of(network.last.weight[:, both], network.last.bias)
        taken = inputs.nonzero().squeeze(1)
        network.monotone_on(taken, self)
        return network, taken

    def _closed_form(self) -> Float[Tensor, ""]:
        """Return |g_1| prod_k (1 + |g_k|) sum_j |g_K,j|, the improved bound for q = 1 and shared lengths."""
        product = self.first.g.abs().squeeze() * self.last.g.abs().sum()
        for block in self.blocks:
            product = product * (1 + block.g.abs().squeeze())
        return product

    def lipschitz_bound(self) -> Float[Tensor, ""]:
        """Return B with |f(x) - f(y)|_1 <= B |x - y|_inf: the tight bound of `path_norm`, and of a linear term."""
        return self.input_bounds().sum()


def _crelu_slopes(layer: Any) -> SlopeLayer:
    """Return a CReLU layer by its slopes W+ and W-."""
    plus, minus = parts(layer)
    return SlopeLayer(plus, minus, layer.bias, torch.maximum(plus.abs(), minus.abs()), roundings(layer))


def _block_slopes(block: Any) -> SlopeLayer:
    """Return a residual block by its slopes I + W+ and I + W-."""
    inner = _crelu_slopes(block)
    identity = torch.eye(len(inner.bias), dtype=inner.bias.dtype, device=inner.bias.device)
    plus, minus, size = (identity + part for part in (inner.positive, inner.negative, inner.magnitude))
    return SlopeLayer(plus, minus, inner.bias, size, inner.roundings)
