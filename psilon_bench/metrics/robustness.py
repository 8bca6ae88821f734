"""Which rows provably keep their class while inputs move, and which keep it under an attack: the truth lies between."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from psilon_bench.metrics.attack import withstands
from psilon_bench.metrics.crown import crown_margins
from psilon_bench.metrics.exact_network import ExactNetwork
from psilon_bench.metrics.pairwise import pairwise_margins
from psilon_bench.metrics.prediction import Shares, row_mean

Certificate = Literal["pairwise", "crown"]


def robust_accuracies(
    net: ExactNetwork,
    x: Float[Tensor, "batch input"],
    y: Int[Tensor, " batch"],
    radii: Sequence[float],
    certificate: Certificate,
    attack_steps: int,
    shares: Shares | None = None,
) -> dict[str, Float[Tensor, ""]]:
    """Return `certified_accuracy/R` at each radius R, and `attacked_accuracy/R` where the attack has steps.

    The first is the fraction of rows, or of weights, that are right and provably stay so when inputs move by at most R
    (L_inf); the second is that of the rows that are right and stay so under `attack_steps` steps of projected gradient
    descent. No certificate is above the second. x is float64.
    """
    accuracies = {}
    for radius in radii:
        held = certified_rows(net, x, y, radius, certificate)
        accuracies[f"certified_accuracy/{radius:g}"] = row_mean(held.double(), shares)
        if attack_steps:
            (left,) = (~held).nonzero(as_tuple=True)  # an attack on a certified row is in vain
            held = held.index_copy(0, left, withstands(net.logits, x[left], y[left], radius, attack_steps))
            accuracies[f"attacked_accuracy/{radius:g}"] = row_mean(held.double(), shares)
    return accuracies


@torch.no_grad()
def certified_rows(
    net: ExactNetwork,
    x: Float[Tensor, "batch input"],
    y: Int[Tensor, " batch"],
    radius: float,
    certificate: Certificate,
) -> Bool[Tensor, " batch"]:
    """Return which rows provably have the class y wherever their inputs move by at most `radius` (L_inf).

    `pairwise` bounds each difference of two logits by a path norm, `crown` by the better of that and linear
    relaxations. What a cheap bound certifies, and what is wrong already, is not looked at again.
    """
    margins = pairwise_margins(net, x, y, radius)
    held = (margins > 0).all(dim=1)
    if certificate == "pairwise":
        return held
    open_ = (pairwise_margins(net, x, y, 0.0) > 0).all(dim=1) & ~held
    better = torch.maximum(margins[open_], crown_margins(net, x[open_], y[open_], radius))
    held[open_] = (better > 0).all(dim=1)
    return held
