r"""CROWN: bounds of margins by linear relaxations of a network, from its last layer back to its inputs.

Zhang et al. 2018. A linear function of the values behind a layer, L z with z = P max(h, 0) + N min(h, 0) + b, is a sum
of functions of one value each, c+ max(h_j, 0) + c- min(h_j, 0), c+ = (L P)_j, c- = (L N)_j, of lower <= h_j <= upper.
A linear function below it is

    c+ h                         where lower >= 0
    c- h                         where upper <= 0
    c+ h or c- h, either         where c+ >= c-, convex; c+ where upper >= -lower, as in the paper
    c- h + (c+ - c-) r (h - lower),  r = upper / (upper - lower), the chord, elsewhere.

So layer after layer is replaced by linear ones, until a linear function of the inputs is left, whose least value in a
box is known. In this form a residual block, whose P and N hold the identity, is relaxed as a whole.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from psilon_bench.metrics.exact_network import ExactLayer, ExactNetwork

NUMBERS_AT_ONCE = 1 << 21  # of a matrix (rows, functions, units), so that it stays in the processor's cache


@dataclass(frozen=True)
class Box:
    """Bounds of the values before a layer, as evaluated, for each row: lower and upper are (batch, unit)."""

    lower: Float[Tensor, "batch unit"]
    upper: Float[Tensor, "batch unit"]

    @property
    def largest(self) -> Float[Tensor, "batch unit"]:
        """Return bounds of the sizes of the values."""
        return torch.maximum(self.lower.abs(), self.upper.abs())

    @property
    def chord(self) -> Float[Tensor, "batch 1 unit"]:
        """Return r, which is 1 where a value is never negative and 0 where it is never positive."""
        top, bottom = self.upper.clamp_min(0), (-self.lower).clamp_min(0)
        return (top / (top + bottom).clamp_min(torch.finfo(top.dtype).tiny))[:, None]

    @property
    def tangent(self) -> Float[Tensor, "batch 1 unit"]:
        """Return whether the slope below a convex function is c+, 1, or c-, 0; it is either where the sign is known."""
        return (self.upper >= -self.lower).to(self.lower.dtype)[:, None]

    @property
    def gap(self) -> Float[Tensor, "batch unit 1"]:
        """Return how far the chord lies above the kink: r x (-lower), 0 where the sign is known."""
        return (self.chord[:, 0] * (-self.lower).clamp_min(0))[..., None]


def crown_margins(
    net: ExactNetwork, x: Float[Tensor, "batch input"], y: Int[Tensor, " batch"], radius: float
) -> Float[Tensor, "batch class"]:
    """Return lower bounds of f_y - f_k for each class k while inputs move by at most `radius`; infinite for k = y.

    x is float64. The bounds hold for exact numbers and for the network as it is evaluated, see exact_network. The
    network is to be piecewise linear.
    """
    assert net.piecewise_linear, "a smooth activation has no two slopes"
    margins = torch.full((len(x), len(net.layers[-1].slopes.bias)), torch.inf, dtype=x.dtype)
    for one in y.unique().tolist():
        last, rows = net.less_others(one), (y == one).nonzero().squeeze(1)
        for some in rows.split(rows_at_once(net)):
            boxes = boxes_of(net, x[some], radius, net.layers[:-1])
            lower = lower_bounds(last, 1.0, net.layers[:-1], boxes, x[some], radius)
            margins[some] = lower.index_fill(1, torch.tensor([one]), torch.inf)
    return margins


def rows_at_once(net: ExactNetwork) -> int:
    """Return how many rows are bounded together: their largest matrices are (rows, unit, fan_in)."""
    return max(1, NUMBERS_AT_ONCE // max(own.slopes.positive.numel() for own in net.layers))


def boxes_of(net: ExactNetwork, x: Float[Tensor, "batch input"], radius: float, layers: list[ExactLayer]) -> list[Box]:
    """Return bounds of the inputs, then of the values behind each of the network's first layers, which are given.

    They are the better of CROWN's and z(x) +- radius x reach.
    """
    boxes = [Box(x - radius, x + radius)]
    reach, off, h = net.reach, torch.zeros_like(x), x
    for k, own in enumerate(layers):
        h, off = own.values(h), off @ own.steepest.T + own.errors(boxes[-1].largest)
        moved = radius * reach[k + 1] + off
        lower, upper = h - moved, h + moved
        if k:
            lower = torch.maximum(lower, lower_bounds(own, 1.0, net.layers[:k], boxes, x, radius))
            upper = torch.minimum(upper, -lower_bounds(own, -1.0, net.layers[:k], boxes, x, radius))
        boxes.append(Box(lower, upper))
    return boxes


def lower_bounds(
    top: ExactLayer,
    sign: float,
    below: list[ExactLayer],
    boxes: list[Box],
    x: Float[Tensor, "batch input"],
    radius: float,
) -> Float[Tensor, "batch unit"]:
    """Return lower bounds of `sign` times the values of the layer `top`, from the layers below it and their boxes.

    A layer's values are those of exact numbers with biases off by at most E (see exact_network), so each function L z
    loses |L| E.
    """
    plus, minus = sign * top.slopes.positive, sign * top.slopes.negative
    constant = sign * top.slopes.bias - top.errors(boxes[len(below)].largest)
    for k in reversed(range(len(below))):
        own, box = below[k].slopes, boxes[k + 1]
        bend = plus - minus
        concave = bend.clamp_max(0)
        functions = minus + (bend - concave) * box.tangent + concave * box.chord  # (batch, function, unit)
        constant = constant + (concave @ box.gap).squeeze(-1) + functions @ own.bias
        constant = constant - (functions.abs() @ below[k].errors(boxes[k].largest)[..., None]).squeeze(-1)
        plus, minus = functions @ own.positive, functions @ own.negative
    # the inputs are before a linear layer: P = N
    plus = plus.expand(len(x), *plus.shape[-2:])
    return constant + (plus @ x[..., None]).squeeze(-1) - radius * plus.abs().sum(dim=-1)
