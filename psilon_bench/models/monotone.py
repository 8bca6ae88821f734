r"""Outputs that provably rise or fall with chosen inputs: a linear term outweighs what the network does against it.

Where an input j moves the only output of a network g by at most L_j per unit, the output of

    f(x) = g(x) + sum_j s_j (1 + MARGIN) L_j x_j,    s_j = 1 or -1,

has slopes of the sign s_j in x_j everywhere, and of a size of at most (2 + MARGIN) L_j (Nolte et al. 2023, Expressive
monotonic neural networks, equation 4, whose one constant for all inputs is here that of each). L is computed of the
weights in each forward pass, so that it is trained through. The margin is more than L may be off by rounding.
"""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from psilon_bench.models.slopes import SlopeLayer

MARGIN = 2.0**-10


class MonotoneInputs(nn.Module):
    """A network with one output that may be monotone in some of its inputs.

    directions: a buffer (input,) of s_j, and 0 where nothing is asked; None for a network without the term. Who knows
    the names of the inputs sets it; see ModelSection.monotone.
    """

    directions: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("directions", None)

    def own_bounds(self) -> Float[Tensor, " input"]:
        """Return L, how far the output of the network without the term moves at most (L1) when one input moves by 1."""
        raise NotImplementedError

    def trend(self) -> Float[Tensor, " input"]:
        """Return the slopes s_j (1 + MARGIN) L_j of the linear term."""
        assert self.directions is not None
        return self.directions * (1 + MARGIN) * self.own_bounds()

    def with_trend(
        self, outputs: Float[Tensor, "batch output"], x: Float[Tensor, "batch input"]
    ) -> Float[Tensor, "batch output"]:
        """Return the outputs with the linear term, where there is one; it is a sum, which autocast leaves alone."""
        return outputs if self.directions is None else outputs + (x * self.trend()).sum(dim=1, keepdim=True)

    def input_bounds(self) -> Float[Tensor, " input"]:
        """Return the part of `lipschitz_bound` of each input: how far it alone moves the outputs (L1)."""
        own = self.own_bounds()
        return own if self.directions is None else own * (1 + (1 + MARGIN) * self.directions.abs())

    def own_slope_layers(self) -> list[SlopeLayer]:
        """Return the layers of the network without the term by their slopes."""
        raise NotImplementedError

    def slope_layers(self) -> list[SlopeLayer]:
        """Return the layers by their slopes, with a unit in each that carries the term past them, where there is one.

        The entries of `own_slope_layers` are the first of their rows and columns.
        """
        own = self.own_slope_layers()
        return own if self.directions is None else beside(own, self.trend())

    def monotone_on(self, inputs: Tensor, whole: "MonotoneInputs") -> None:
        """Take the directions of the network `whole`, of whose inputs this one takes those with these indices."""
        self.directions = None if whole.directions is None else whole.directions[inputs]


def beside(layers: list[SlopeLayer], trend: Float[Tensor, " input"]) -> list[SlopeLayer]:
    """Return a network of one output with a linear function of its inputs added, by a linear unit in each layer."""
    if len(layers) == 1:
        raise ValueError("a network of one layer has no unit to carry a term past it")
    first, *between, last = layers
    one = torch.ones_like(trend[:1])
    behind = sum(layer.roundings for layer in layers) + len(trend) + 4  # of the constants and of the sum
    carried: list[SlopeLayer] = [replace(joined(first, trend[None], trend[None].abs()), roundings=behind)]
    for layer in between:
        zero = one.new_zeros(1, layer.positive.shape[1])
        row = torch.cat([zero, one[None]], dim=1)
        carried.append(joined(with_input(layer, 0 * one), row, row))
    return [*carried, replace(with_input(last, one), roundings=last.roundings + 1)]


def joined(layer: SlopeLayer, row: Float[Tensor, "1 fan_in"], size: Float[Tensor, "1 fan_in"]) -> SlopeLayer:
    """Return a layer with a linear unit behind its own."""
    changes: dict[str, Any] = {part: torch.cat([getattr(layer, part), row]) for part in ("positive", "negative")}
    bias = torch.cat([layer.bias, torch.zeros_like(layer.bias[:1])])
    return replace(layer, **changes, magnitude=torch.cat([layer.magnitude, size]), bias=bias)


def with_input(layer: SlopeLayer, slope: Float[Tensor, " 1"]) -> SlopeLayer:
    """Return a layer whose units read a further value, linearly and with this slope."""
    column = slope.expand(len(layer.bias), 1)
    parts = {"positive": column, "negative": column, "magnitude": column.abs()}
    changes: dict[str, Any] = {part: torch.cat([getattr(layer, part), own], dim=1) for part, own in parts.items()}
    return replace(layer, **changes)
