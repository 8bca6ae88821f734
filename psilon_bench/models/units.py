"""Homogeneous units: what models offer to regularizers and metrics that act on whole units."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn


class Pair(NamedTuple):
    """Two layers and the units between them, behind a homogeneous activation.

    Unit k has incoming weights w_k = incoming.weight[k], a bias, and outgoing weights v_k = outgoing.weight[:, k]; of a
    convolution they are all weights of a channel. Multiplying w_k and the bias by c > 0 and v_k by 1/c changes nothing.
    """

    incoming: Any  # nn.Linear or nn.Conv2d
    outgoing: Any


@runtime_checkable
class HasUnits(Protocol):
    """A network that says which of its layers are pairs, in the order in which they are applied.

    From the first layer of the first pair to the last one of the last pair there is nothing but these layers,
    homogeneous activations and pooling. `unpaired` layers lie before or behind them. `homogeneous`: whether the
    activations are.
    """

    homogeneous: bool

    def units(self) -> list[Pair]: ...

    def unpaired(self) -> list[nn.Module]: ...


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
