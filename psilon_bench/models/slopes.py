"""Layers by their two slopes: one form for ReLU, leaky and CReLU residual networks, in which they are certified."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from psilon_bench.models.linear import NormLinear


@dataclass(frozen=True)
class SlopeLayer:
    r"""A layer z = P max(h, 0) + N min(h, 0) + b of the values h before it, elementwise; the inputs are the first h.

    A linear layer behind ReLU has P = W and N = 0, behind a leaky ReLU of slope a N = a W, behind nothing N = P = W; a
    CReLU block h + W+ max(h, 0) + W- min(h, 0) has P = I + W+ and N = I + W-. Every column of its Jacobian is one of P
    or of N, so that the absolute Jacobian is at most max(|P|, |N|), elementwise. A smooth activation with f(0) = 0 and
    slopes from a to b has P = b W and N = a W: the columns lie between them.

    positive, negative: P and N. magnitude: at least the sizes of what is multiplied and added on the way to a value, as
    factors of |h|: |W| and 1 on the diagonal of a residual block, where P may be smaller by cancellation. roundings:
    how many of them a value has behind it at most when a computer evaluates the layer from h and the parameters.
    """

    positive: Float[Tensor, "*member unit fan_in"]
    negative: Float[Tensor, "*member unit fan_in"]
    bias: Float[Tensor, "*member unit"]
    magnitude: Float[Tensor, "unit fan_in"]
    roundings: int


def linear_slopes(layer: Any, upper: float, lower: float) -> SlopeLayer:
    """Return a linear layer behind an activation whose slopes lie between `lower` and `upper`."""
    weight = layer.weight
    size = weight.abs() * max(abs(upper), abs(lower))
    return SlopeLayer(upper * weight, lower * weight, layer.bias, size, roundings(layer))


def roundings(layer: Any) -> int:
    """Return how many roundings a value of a layer W f(h) + b, or of one with h added, has behind it at most.

    A sum of n products has n, in whatever order it is made, the bias and h one each, an activation 8 in units of h
    (errors of tanh and erf of a few ulp). Where rows are divided by their norms, W_j = g_j v_j / ||v_j||, the norm has
    n + 3 and division and product 3 more.
    """
    fan_in = layer.weight.shape[1]
    return 2 * fan_in + 16 if isinstance(layer, NormLinear) else fan_in + 10
