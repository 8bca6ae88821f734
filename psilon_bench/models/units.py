"""Homogeneous units: what models offer to regularizers and metrics that act on whole units."""

from typing import Any

import torch
from torch import Tensor, nn

from psilon_bench.models.offers import HasUnits, Pair


def pairs_of(model: nn.Module) -> list[Pair]:
    """Return the pairs of layers of a network; none where it offers no units."""
    return model.units() if isinstance(model, HasUnits) else []


def incoming_norms(pair: Pair) -> Tensor:
    """||w_k||_2 of every unit, shape (units,)."""
    return torch.linalg.vector_norm(pair.incoming.weight.flatten(1), dim=1)


def outgoing_squares(pair: Pair) -> Tensor:
    """||v_k||_2^2 of every unit, shape (units,)."""
    # five times as fast as vector_norm over the first axis
    return pair.outgoing.weight.square().sum(dim=(0, *range(2, pair.outgoing.weight.dim())))


def outgoing_norms(pair: Pair) -> Tensor:
    """||v_k||_2 of every unit, shape (units,); the gradient at 0 is 0."""
    squares = outgoing_squares(pair)
    return torch.where(squares > 0, squares, 1).sqrt() * (squares > 0)


def unit_sizes(model: HasUnits) -> list[Tensor]:
    """||w_k||_2 ||v_k||_2 of every unit, a tensor (units,) for every pair; rescaling a unit does not change it."""
    return [incoming_norms(pair) * outgoing_norms(pair) for pair in model.units()]


def all_layers(model: HasUnits) -> list[Any]:
    """Those of the pairs, then those in none."""
    return [*(layer for pair in model.units() for layer in pair), *model.unpaired()]


def half_squares(layers: list[Any]) -> Tensor | float:
    """Half the sum of squared weights, biases excluded."""
    return sum((layer.weight.square().sum() for layer in layers), start=0.0) / 2


def scale_incoming(pair: Pair, factors: Tensor) -> None:
    """w_k <- factor_k w_k in place."""
    weight = pair.incoming.weight
    weight.mul_(factors.reshape(-1, *[1] * (weight.dim() - 1)))


def scale_outgoing(pair: Pair, factors: Tensor) -> None:
    """v_k <- factor_k v_k in place."""
    weight = pair.outgoing.weight
    weight.mul_(factors.reshape(-1, *[1] * (weight.dim() - 2)))


def scale_bias(layer: nn.Module, factors: Tensor) -> None:
    """b <- factors b in place, where the layer has a bias."""
    if isinstance(layer.bias, Tensor):
        layer.bias.mul_(factors)
