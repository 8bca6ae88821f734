"""Several networks of one shape as one function: an attack on tiny networks takes the time of its calls."""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from psilon_bench.metrics.exact_network import ExactLayer, ExactNetwork

NUMBERS_AT_ONCE = 1 << 16  # of values behind a layer, half a MB, which stays in the processor's cache

StackedLogits = Callable[[Float[Tensor, "member some input"]], Float[Tensor, "member some class"]]


def stacked_logits(nets: Sequence[ExactNetwork]) -> StackedLogits:
    """Return the logits of networks, each at its own points, as one function.

    Piecewise linear networks, which are to have layers of the same shapes, are evaluated by one product a layer.
    """
    if len(nets) == 1 or not all(net.piecewise_linear for net in nets):
        return lambda x: torch.stack([net.logits(own) for net, own in zip(nets, x, strict=True)])
    layers = [stacked(own) for own in zip(*(net.layers for net in nets), strict=True)]
    return lambda x: functools.reduce(lambda h, own: own.values(h), layers, x)


def stacked(layers: Sequence[ExactLayer]) -> ExactLayer:
    """Return the values of layers as those of one, with a first axis for the networks that they belong to."""
    parts = ("positive", "negative", "bias")
    changes: dict[str, Any] = {part: torch.stack([getattr(own.slopes, part) for own in layers]) for part in parts}
    return replace(layers[0], slopes=replace(layers[0].slopes, **changes))


def attack_points(
    nets: Sequence[ExactNetwork], rows: int, radii: Sequence[float]
) -> Iterator[tuple[Tensor, Tensor, Float[Tensor, "some 1"]]]:
    """Yield all pairs of a radius and one of so many rows, as many at once as suit the processor's cache.

    Each time these are the places of the pairs, where the rows of the first radius come first, their rows, and the
    radii.
    """
    widest = max(max(own.slopes.positive.shape) for own in nets[0].layers)
    of_row = torch.tensor(radii, dtype=torch.float64)[:, None]
    for places in torch.arange(rows * len(radii)).split(max(1, NUMBERS_AT_ONCE // (len(nets) * widest))):
        yield places, places % rows, of_row[places // rows]


def members_at_once(network: Any, rows: int, radii: Sequence[float]) -> int:
    """Return how many networks like this one are attacked together: small ones, at few rows.

    A large network gains nothing, and loses, for a row that one network has lost is attacked as long as another holds.
    """
    shapes = [parameter.shape for parameter in network.parameters()]
    widest = max((max(shape, default=1) for shape in shapes), default=1)
    numbers = max(rows * len(radii) * widest, sum(shape.numel() for shape in shapes))
    return max(1, NUMBERS_AT_ONCE // max(1, numbers))
