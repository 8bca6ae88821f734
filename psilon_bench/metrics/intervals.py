"""Where the outputs of a regression provably stay while its inputs move, and where an attack brings them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from psilon_bench.metrics.attack import STEP
from psilon_bench.metrics.crown import Box, boxes_of, rows_at_once
from psilon_bench.metrics.exact_network import ExactNetwork, largest_values
from psilon_bench.metrics.prediction import Shares, row_mean
from psilon_bench.metrics.robustness import Certificate
from psilon_bench.metrics.stacked_networks import attack_points, stacked_logits

Outputs = Float[Tensor, "batch 1"]


@dataclass(frozen=True)
class TargetScale:
    """Raw targets are center + scale y, scale > 0, where y are those of the network."""

    center: float
    scale: float

    def raw(self, box: Box) -> Box:
        """Return an interval of y in units of the target, rounded outward: four roundings are more than it has."""

        def rounded(y: Tensor, sign: int) -> Tensor:
            return self.center + self.scale * y + sign * 4 * eps * (abs(self.center) + (self.scale * y).abs())

        eps = torch.finfo(box.lower.dtype).eps
        return Box(rounded(box.lower, -1), rounded(box.upper, 1))


@torch.no_grad()
def output_interval(net: ExactNetwork, x: Float[Tensor, "batch input"], radius: float, certificate: Certificate) -> Box:
    """Return bounds (batch, output) of the outputs, as evaluated, while inputs move by at most `radius` (L_inf).

    They are f(x) +- L radius, L the path norm of an output, and with another certificate than `pairwise` the better of
    that and linear relaxations. x is float64.
    """
    if certificate != "pairwise":
        boxes = [boxes_of(net, some, radius, net.layers)[-1] for some in x.split(rows_at_once(net))]
        return Box(*(torch.cat([getattr(box, end) for box in boxes]) for end in ("lower", "upper")))
    largest, off = largest_values(net, x, radius)
    last, h = net.layers[-1], net.logits(x)
    moved = radius * net.reach[-1] + off @ last.steepest.T + last.errors(largest[-1])
    return Box(h - moved, h + moved)


def interval_scores(
    nets: Sequence[ExactNetwork],
    x: Float[Tensor, "member batch input"],
    y: Float[Tensor, "member batch 1"],
    radii: Sequence[float],
    certificate: Certificate,
    attack_steps: int,
    targets: Sequence[TargetScale],
    shares: Sequence[Shares | None],
) -> list[dict[str, Float[Tensor, ""]]]:
    """Return `certified_width/R` and `certified_mae/R` at each radius, and `attacked_mae/R` where the attack has steps.

    The first is the mean width of the interval that provably holds the prediction while inputs move by at most R
    (L_inf), the second the mean of the largest |y - p| over that interval, the third that of the largest that an attack
    finds, which no certificate is below. All are in units of the target; x and y are float64, y as for the network.
    There is a dictionary for each of the networks, which have layers of the same shapes.
    """
    worst = torch.zeros(len(nets), len(radii) * x.shape[1], dtype=x.dtype)
    logits = stacked_logits(nets)
    for places, rows, some in attack_points(nets, x.shape[1], radii) if attack_steps else ():
        worst[:, places] = largest_errors(logits, x[:, rows], y[:, rows], some, attack_steps)
    of_radius = worst.unflatten(1, (len(radii), -1)) if radii else worst
    found: list[dict[str, Tensor]] = [{} for _ in nets]
    for place, (net, target, share) in enumerate(zip(nets, targets, shares, strict=True)):
        for radius, errors in zip(radii, of_radius[place], strict=True):
            box = target.raw(output_interval(net, x[place], radius, certificate))
            found[place] |= scores_of(box, target.center + target.scale * y[place], radius, share)
            if attack_steps:
                found[place][f"attacked_mae/{radius:g}"] = row_mean(target.scale * errors, share)
    return found


def scores_of(box: Box, y: Outputs, radius: float, shares: Shares | None) -> dict[str, Float[Tensor, ""]]:
    """Return the mean width of intervals and the mean of the largest error in them, for targets y of the same units."""
    largest = torch.maximum((y - box.lower).abs(), (box.upper - y).abs())
    return {
        f"certified_width/{radius:g}": row_mean((box.upper - box.lower).squeeze(1), shares),
        f"certified_mae/{radius:g}": row_mean(largest.squeeze(1), shares),
    }


def largest_errors(
    outputs: Callable[[Float[Tensor, "member batch input"]], Float[Tensor, "member batch 1"]],
    x: Float[Tensor, "member batch input"],
    y: Float[Tensor, "member batch 1"],
    radius: Float[Tensor, "batch 1"],
    steps: int,
) -> Float[Tensor, "member batch"]:
    """Return the largest |y - f(x')| of each row over the points of two attacks within `radius` (L_inf), x among them.

    They go up and down from x, as that of `attack.withstands` goes against a margin.
    """
    largest = torch.zeros(x.shape[:-1], dtype=x.dtype)
    for direction in (1, -1):
        here = x
        for step in range(steps + 1):
            here = here.detach().requires_grad_(step < steps)
            with torch.set_grad_enabled(step < steps):
                made = outputs(here)
            largest = torch.maximum(largest, (y - made.detach()).abs().squeeze(-1))
            if step < steps:
                (slopes,) = torch.autograd.grad(made.sum(), here)
                moved = here.detach() + direction * STEP * radius / steps * slopes.sign()
                here = moved.clamp(x - radius, x + radius)
    return largest
