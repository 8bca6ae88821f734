"""Homogeneous units, which regularizers, pruners and metrics treat as wholes: their norms, and how they are rescaled.

For a unit k of a pair of layers, w_k are its incoming weights, a_k is its bias and v_k are its outgoing weights (see
`Pair`); a unit of convolutions is a channel. In the shapes, `unit` counts the units of one pair.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from psilon_bench.models.offers import HasUnits, Pair


def pairs_of(model: Any) -> list[Pair]:
    """Return the pairs of layers of a network; none where it offers no units."""
    return model.units() if isinstance(model, HasUnits) else []


def incoming_norms(pair: Pair) -> Float[Tensor, " unit"]:
    """Return ||w_k||_2 of every unit, without its bias."""
    return torch.linalg.vector_norm(pair.incoming.weight.flatten(1), dim=1)


def outgoing_squares(pair: Pair) -> Float[Tensor, " unit"]:
    """Return ||v_k||_2^2 of every unit."""
    # five times as fast as vector_norm over the first axis
    return pair.outgoing.weight.square().sum(dim=(0, *range(2, pair.outgoing.weight.dim())))


def outgoing_norms(pair: Pair) -> Float[Tensor, " unit"]:
    """Return ||v_k||_2 of every unit; the gradient at v_k = 0 is 0."""
    squares = outgoing_squares(pair)
    return torch.where(squares > 0, squares, 1).sqrt() * (squares > 0)


def unit_sizes(model: HasUnits) -> list[Float[Tensor, " _unit"]]:
    """Return ||w_k||_2 ||v_k||_2 of every unit, a tensor for each pair; rescaling a unit does not change its size."""
    return [incoming_norms(pair) * outgoing_norms(pair) for pair in model.units()]


def all_layers(model: HasUnits) -> list[Any]:
    """Return the layers of the pairs, then the layers that belong to no pair."""
    return [*(layer for pair in model.units() for layer in pair), *model.unpaired()]


def half_squares(layers: list[Any]) -> Float[Tensor, ""] | float:
    """Return 1/2 sum w^2 over the weights of the layers, without biases; 0 where there are no layers."""
    return sum((layer.weight.square().sum() for layer in layers), start=0.0) / 2


def scale_incoming(pair: Pair, factors: Float[Tensor, " unit"]) -> None:
    """Multiply w_k by factor k, in place; the biases stay as they are."""
    weight = pair.incoming.weight
    weight.mul_(factors.reshape(-1, *[1] * (weight.dim() - 1)))


def scale_outgoing(pair: Pair, factors: Float[Tensor, "#unit"]) -> None:
    """Multiply v_k by factor k, or all v_k by the only factor, in place."""
    weight = pair.outgoing.weight
    weight.mul_(factors.reshape(-1, *[1] * (weight.dim() - 2)))


def scale_bias(layer: nn.Module, factors: Float[Tensor, "..."]) -> None:
    """Multiply the bias of a layer by a factor for each unit, or by one for all, in place, where it has a bias."""
    if isinstance(layer.bias, Tensor):
        layer.bias.mul_(factors)
