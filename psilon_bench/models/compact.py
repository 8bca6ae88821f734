"""What exact zeros save: the same outputs from fewer units and inputs."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


@torch.no_grad()
def without_dead_units(
    weights: list[Tensor], biases: list[Tensor], activations: Sequence[Callable[[Tensor], Tensor]]
) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Smaller weights and biases with the same outputs, and the indices of the inputs that they take.

    weights W_1 (hidden, in) ... W_K (outputs, hidden), with K - 1 activations between them. A unit that reads nothing
    is a constant, which goes into the next biases; a unit or an input that nobody reads goes away. Each layer and the
    inputs keep one at least.
    """
    weights, biases = list(weights), list(biases)
    for k in range(len(weights) - 1):
        reads = kept(weights[k].any(dim=1))
        constants = activations[k](biases[k][~reads].clone())
        biases[k + 1] = biases[k + 1] + weights[k + 1][:, ~reads] @ constants
        weights[k], biases[k], weights[k + 1] = weights[k][reads], biases[k][reads], weights[k + 1][:, reads]
    for k in reversed(range(1, len(weights))):
        alive = weights[k].any(dim=0)
        read = kept(alive)
        weights[k], weights[k - 1] = weights[k][:, read], (weights[k - 1] * alive[:, None])[read]
        biases[k - 1] = biases[k - 1][read]
    inputs = kept(weights[0].any(dim=0))
    weights[0] = weights[0][:, inputs]
    return weights, biases, inputs.nonzero().squeeze(1)


@torch.no_grad()
def alive_units(weights: list[Tensor]) -> list[Tensor]:
    """Of every hidden layer the units, as a mask, on a path of weights other than 0 from an input to an output.

    weights as above. What `without_dead_units` leaves, but for the one that it keeps of a layer where none is alive.
    """
    there = [weight != 0 for weight in weights]
    reading = [there[0].any(dim=1)]
    for own in there[1:-1]:
        reading.append((own & reading[-1]).any(dim=1))
    read = torch.ones_like(there[-1][:, 0])
    alive: list[Tensor] = []
    for own, reads in zip(reversed(there[1:]), reversed(reading), strict=True):
        read = (own & read[:, None]).any(dim=0) & reads
        alive.insert(0, read)
    return alive


def kept(alive: Tensor) -> Tensor:
    """The mask, with the first kept where none is alive."""
    alive = alive.clone()
    alive[0] |= ~alive.any()
    return alive
