"""Which rows provably keep their class while inputs move, and which keep it under an attack: the truth lies between."""

import time
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from psilon_bench.metrics.attack import withstands
from psilon_bench.metrics.branch_and_bound import verdict
from psilon_bench.metrics.crown import crown_margins
from psilon_bench.metrics.exact_network import ExactNetwork
from psilon_bench.metrics.pairwise import pairwise_margins
from psilon_bench.metrics.prediction import Shares, row_mean
from psilon_bench.metrics.stacked_networks import attack_points, stacked_logits

Certificate = Literal["pairwise", "crown", "exact"]
SHORTEST_ATTACK = 10  # steps before a row is worth branching


def robust_accuracies(
    nets: Sequence[ExactNetwork],
    x: Float[Tensor, "member batch input"],
    y: Int[Tensor, "member batch"],
    radii: Sequence[float],
    certificate: Certificate,
    attack_steps: int,
    shares: Sequence[Shares | None],
    exact_seconds: float = torch.inf,
) -> list[dict[str, Float[Tensor, ""]]]:
    """Return `certified_accuracy/R` of each net at each radius R, and `attacked_accuracy/R` where the attack has steps.

    The first is the fraction of rows, or of weights, that are right and provably stay so when inputs move by at most R
    (L_inf); the second is that of the rows that are right and stay so under `attack_steps` steps of projected gradient
    descent. No certificate is above the second. With the certificate `exact`, which has so many seconds at a radius,
    `num_undecided/R` counts the rows between the two; what branching breaks counts as attacked. x is float64. The
    networks have layers of the same shapes.
    """
    if not radii:
        return [{} for _ in nets]
    rows = list(zip(nets, x, y, strict=True))
    margins = [[certified_margins(*one, radius, certificate) for radius in radii] for one in rows]
    held = torch.stack([torch.stack([(own > 0).all(dim=1) for own in of_net]) for of_net in margins])
    attacked = held
    if attack_steps or certificate == "exact":
        attacked = held | attacked_rows(nets, x, y, radii, attack_steps or SHORTEST_ATTACK, ~held)
    found: list[dict[str, Tensor]] = [{} for _ in nets]
    for place in range(len(nets)):
        for radius, own, certified, kept in zip(radii, margins[place], held[place], attacked[place], strict=True):
            if certificate == "exact":
                proved, broken = branched(*rows[place], radius, own, kept & ~certified, exact_seconds)
                certified, kept = certified | proved, kept & ~broken
                found[place][f"num_undecided/{radius:g}"] = (kept & ~certified).double().sum()
            found[place][f"certified_accuracy/{radius:g}"] = row_mean(certified.double(), shares[place])
            if attack_steps:
                found[place][f"attacked_accuracy/{radius:g}"] = row_mean(kept.double(), shares[place])
    return found


def attacked_rows(
    nets: Sequence[ExactNetwork],
    x: Float[Tensor, "member batch input"],
    y: Int[Tensor, "member batch"],
    radii: Sequence[float],
    steps: int,
    still_open: Bool[Tensor, "member radius batch"],
) -> Bool[Tensor, "member radius batch"]:
    """Return which of these rows withstand an attack at each radius; others, which are certified, are not attacked."""
    held, logits = still_open.flatten(1), stacked_logits(nets)
    for places, rows, radius in attack_points(nets, x.shape[1], radii):
        held[:, places] = withstands(logits, x[:, rows], y[:, rows], radius, steps, held[:, places])
    return held.reshape(still_open.shape)


def branched(
    net: ExactNetwork,
    x: Float[Tensor, "batch input"],
    y: Int[Tensor, " batch"],
    radius: float,
    margins: Float[Tensor, "batch class"],
    open_: Bool[Tensor, " batch"],
    seconds: float,
) -> tuple[Bool[Tensor, " batch"], Bool[Tensor, " batch"]]:
    """Return which of the open rows branch and bound certifies, and which it breaks; each has its share of the time.

    margins: bounds by which the margins that are positive are known already.
    """
    ends, proved, broken = time.monotonic() + seconds, torch.zeros_like(open_), torch.zeros_like(open_)
    rows = open_.nonzero().squeeze(1).tolist()
    for number, row in enumerate(rows):
        now = time.monotonic()
        deadline = now + max(ends - now, 0.0) / (len(rows) - number)
        one, proved[row] = int(y[row]), True
        for other in (~(margins[row] > 0)).nonzero().squeeze(1).tolist():
            found = verdict(net, x[row], one, other, radius, deadline)
            proved[row] &= found == "certified"
            broken[row] |= found == "broken"
            if found != "certified":
                break
    return proved, broken


def certified_rows(
    net: ExactNetwork,
    x: Float[Tensor, "batch input"],
    y: Int[Tensor, " batch"],
    radius: float,
    certificate: Literal["pairwise", "crown"],
) -> Bool[Tensor, " batch"]:
    """Return which rows provably have the class y wherever their inputs move by at most `radius` (L_inf)."""
    return (certified_margins(net, x, y, radius, certificate) > 0).all(dim=1)


@torch.no_grad()
def certified_margins(
    net: ExactNetwork,
    x: Float[Tensor, "batch input"],
    y: Int[Tensor, " batch"],
    radius: float,
    certificate: Certificate,
) -> Float[Tensor, "batch class"]:
    """Return lower bounds of f_y - f_k for each class k while inputs move by at most `radius`; infinite for k = y.

    `pairwise` bounds each difference of two logits by a path norm, others by the better of that and linear relaxations.
    What a cheap bound certifies, and what is wrong already, is not looked at again.
    """
    margins = pairwise_margins(net, x, y, radius)
    if certificate == "pairwise":
        return margins
    open_ = (pairwise_margins(net, x, y, 0.0) > 0).all(dim=1) & ~(margins > 0).all(dim=1)
    margins[open_] = torch.maximum(margins[open_], crown_margins(net, x[open_], y[open_], radius))
    return margins
