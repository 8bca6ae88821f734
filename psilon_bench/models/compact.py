"""What exact zeros save: networks of linear layers that give the same outputs from fewer units and inputs."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Matrix = Float[Tensor, "_unit _fan_in"]
Bias = Float[Tensor, " _unit"]


@torch.no_grad()
def without_dead_units(
    weights: list[Matrix], biases: list[Bias], activations: Sequence[Callable[[Tensor], Tensor]]
) -> tuple[list[Matrix], list[Bias], Int[Tensor, " input"]]:
    """Return smaller weights and biases that give the same outputs, and the indices of the inputs that they take.

    The weights are W_1 (hidden, input) ... W_K (output, hidden), with K - 1 activations between them. A unit that reads
    nothing is a constant, which is added to the next biases. A unit or an input that nothing reads goes away. Each
    layer keeps at least one unit, and the network at least one input.
    """
    weights, biases = list(weights), list(biases)
    for k in range(len(weights) - 1):
        reads = kept_entries(weights[k].any(dim=1))
        constants = activations[k](biases[k][~reads].clone())
        biases[k + 1] = biases[k + 1] + weights[k + 1][:, ~reads] @ constants
        weights[k], biases[k], weights[k + 1] = weights[k][reads], biases[k][reads], weights[k + 1][:, reads]
    for k in reversed(range(1, len(weights))):
        alive = weights[k].any(dim=0)
        read = kept_entries(alive)
        weights[k], weights[k - 1] = weights[k][:, read], (weights[k - 1] * alive[:, None])[read]
        biases[k - 1] = biases[k - 1][read]
    inputs = kept_entries(weights[0].any(dim=0))
    weights[0] = weights[0][:, inputs]
    return weights, biases, inputs.nonzero().squeeze(1)


@torch.no_grad()
def alive_units(weights: list[Matrix]) -> list[Bool[Tensor, " _unit"]]:
    """Return a mask for each hidden layer: the units on a path of nonzero weights from an input to an output.

    The weights are those of `without_dead_units`, which leaves these units, and one of a layer where none is alive.
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


def kept_entries(alive: Bool[Tensor, " unit"]) -> Bool[Tensor, " unit"]:
    """Return the mask, with its first entry set where no entry is."""
    alive = alive.clone()
    alive[0] |= ~alive.any()
    return alive
