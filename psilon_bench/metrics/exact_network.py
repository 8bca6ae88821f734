r"""Networks in float64, with how far their evaluation in another precision may be off.

Let h be the values that a layer is evaluated from, |h| <= a, elementwise. With the magnitude A and the m roundings of a
SlopeLayer, the values z that it is evaluated to differ from those of exact numbers by at most

    gamma_m (A a + |b|) + m sqrt(t) (1 + A 1),

where t is the smallest normal number of the precision; the second term stands for what is lost where numbers round to
0, of weight-normalised layers too, which divide by no norm below sqrt(t). So a network as it is evaluated is one of
exact numbers whose biases move by no more than that, and what holds for all such moves holds for it. The rounding of
float64, in which bounds are computed, is part of the same term.
"""

import copy
import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from psilon_bench.data.task import Kind
from psilon_bench.errors import UsageError
from psilon_bench.metrics.prediction import class_logits
from psilon_bench.metrics.rounding import gamma, gamma_of_bounds
from psilon_bench.models.slopes import SlopeLayer


@dataclass(frozen=True)
class ExactLayer:
    """A layer in float64. `relative` is the factor of A a + |b|, and `absolute` (unit,) what is added to it."""

    slopes: SlopeLayer
    relative: float
    absolute: Float[Tensor, " unit"]

    @functools.cached_property
    def steepest(self) -> Float[Tensor, "unit fan_in"]:
        """Return max(|P|, |N|), rounded up: no absolute Jacobian of the layer is above it."""
        own = self.slopes
        return torch.maximum(own.positive.abs(), own.negative.abs()) + gamma_of_bounds(own.roundings) * own.magnitude

    def errors(self, largest: Float[Tensor, "*batch fan_in"]) -> Float[Tensor, "*batch unit"]:
        """Return by how much values are off at most where the values before the layer have at most these sizes."""
        return self.relative * (largest @ self.slopes.magnitude.T + self.slopes.bias.abs()) + self.absolute

    def values(self, h: Float[Tensor, "*member batch fan_in"]) -> Float[Tensor, "*member batch unit"]:
        """Return P max(h, 0) + N min(h, 0) + b, of the layers of several networks where they are stacked."""
        own = self.slopes
        return h.clamp_min(0) @ own.positive.mT + h.clamp_max(0) @ own.negative.mT + own.bias[..., None, :]


def exact_layer(slopes: SlopeLayer, evaluated_in: torch.dtype, depth: int) -> ExactLayer:
    """Return a layer of a network of `depth` layers, in float64, with the errors of its evaluation in this precision.

    A bound is a sum over the layers, so that each term has as many roundings of float64 more behind it.
    """
    off = gamma_of_bounds(slopes.roundings + depth) + gamma(slopes.roundings, evaluated_in)
    lost = slopes.roundings * torch.finfo(evaluated_in).tiny ** 0.5
    return ExactLayer(slopes, off, lost * (1 + slopes.magnitude.sum(dim=1)))


@dataclass(frozen=True)
class ExactNetwork:
    """A network with slopes, as a function from inputs to a logit of each class, in float64 on the CPU.

    Of two classes, whose only output is the logit of class 1, class 0 has the logit 0. It stands for the network as
    evaluated in the precision `evaluated_in`.
    """

    network: Any
    kind: Kind
    layers: list[ExactLayer]
    evaluated_in: torch.dtype

    @property
    def piecewise_linear(self) -> bool:
        """Return whether the layers are the network itself."""
        return bool(self.network.piecewise_linear)

    def logits(self, x: Float[Tensor, "batch input"]) -> Float[Tensor, "batch class"]:
        """Return the logit of each class."""
        if not self.piecewise_linear:
            return class_logits(self.kind, self.network(x))
        for layer in self.layers:
            x = layer.values(x)
        return x

    def with_classes(self, kind: Kind) -> "ExactNetwork":
        """Return the same network with a logit of each class of such a task, where this one has its plain outputs."""
        assert self.kind == "regression", "the outputs are no logits of classes yet"
        *hidden, last = self.layers
        if kind == "binary":
            last = exact_layer(with_zero_output(last.slopes), self.evaluated_in, len(self.layers))
        return replace(self, kind=kind, layers=[*hidden, last])

    @functools.cached_property
    def reach(self) -> list[Float[Tensor, " _unit"]]:
        """Return how far the values behind each layer move at most when all inputs move by 1: path norms, rounded up.

        The first entry is that of the inputs.
        """
        moves, last = [torch.ones_like(self.layers[0].slopes.positive[0])], 0
        for own in self.layers:
            last += own.slopes.roundings
            moves.append(own.steepest @ moves[-1])
        return [move * (1 + gamma_of_bounds(last)) for move in moves]

    def input_bounds(self) -> Float[Tensor, " input"]:
        """Return how far the logits move at most (L1) when one input moves by 1, rounded up; 0 where it is not read."""
        paths = torch.ones_like(self.layers[-1].slopes.bias)
        for own in reversed(self.layers):
            paths = paths @ own.steepest
        roundings = sum(own.slopes.roundings + len(own.slopes.bias) for own in self.layers)
        return paths * (1 + gamma_of_bounds(roundings))  # enough for the sum of the entries, too

    def less_others(self, one: int) -> ExactLayer:
        """Return the last layer with the logit of class `one` less that of each class in place of each.

        Each is off by no more than both are together.
        """
        last = self.layers[-1]
        own = last.slopes
        slopes = replace(
            own,
            positive=own.positive[one] - own.positive,
            negative=own.negative[one] - own.negative,
            bias=own.bias[one] - own.bias,
            magnitude=own.magnitude[one] + own.magnitude,
        )
        both = last.relative * (own.bias[one].abs() + own.bias.abs() - slopes.bias.abs())  # |b_1 - b_2| hides sizes
        return replace(last, slopes=slopes, absolute=last.absolute[one] + last.absolute + both)


def exact_network(model: Any, kind: Kind) -> ExactNetwork:
    """Return a network with slopes in float64; the errors are those of an evaluation in its present precision."""
    evaluated_in = torch.float64
    if isinstance(model, nn.Module):
        evaluated_in = next(model.parameters()).dtype
        model = copy.deepcopy(model).cpu().double().eval().requires_grad_(False)
    layers = model.slope_layers()
    exact = [exact_layer(own, evaluated_in, len(layers)) for own in layers]
    net = ExactNetwork(model, "regression", exact, evaluated_in)
    check_function(net)
    return net.with_classes(kind)


@torch.no_grad()
def check_function(net: ExactNetwork) -> None:
    """Raise UsageError where the layers of a piecewise linear network are another function than the network.

    Such as that of a subclass with a forward pass of its own and the slopes of its base.
    """
    if not (net.piecewise_linear and isinstance(net.network, nn.Module)):
        return
    width = net.layers[0].slopes.positive.shape[1]
    x = torch.linspace(-2, 2, 3 * width, dtype=torch.float64).reshape(width, 3).T
    told, made = net.logits(x), class_logits(net.kind, net.network(x))
    sizes = largest_values(net, x, 0.0)[0][-1].amax() * net.layers[-1].slopes.magnitude.sum(dim=1).amax()
    if not (told - made).abs().amax() <= 1e-6 * (1 + sizes) and made.isfinite().all():
        raise UsageError(
            f"slope_layers of {type(net.network).__name__} is another function than its forward pass, so that no "
            "certificate of it holds. Override both, or do without HasSlopes."
        )


def with_zero_output(last: SlopeLayer) -> SlopeLayer:
    """Return the last layer with an output before all others that is 0 everywhere."""

    def after_zero(value: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(value[:1]), value])

    return replace(
        last,
        positive=after_zero(last.positive),
        negative=after_zero(last.negative),
        bias=after_zero(last.bias),
        magnitude=after_zero(last.magnitude),
    )


def largest_values(
    net: ExactNetwork, x: Float[Tensor, "batch input"], radius: float
) -> tuple[Sequence[Float[Tensor, "batch _unit"]], Float[Tensor, "batch hidden"]]:
    """Return bounds of the sizes of the values before each layer, as evaluated at any point within `radius` (L_inf).

    Beside them by how much the values before the last layer are off at most. The sizes are |z(x)| + radius x reach +
    errors; without the values z of a smooth activation they are A a + |b|, whatever the inputs.
    """
    largest, off = [x.abs() + radius], torch.zeros_like(x)
    h = x
    for own, reach in zip(net.layers[:-1], net.reach[1:], strict=False):
        errors = own.errors(largest[-1])
        if net.piecewise_linear:
            h = own.values(h)
            off = off @ own.steepest.T + errors
            largest.append(h.abs() + radius * reach + off)
        else:
            largest.append(largest[-1] @ own.slopes.magnitude.T + own.slopes.bias.abs() + errors)
            off = off @ own.steepest.T + errors
    return largest, off
