r"""Complete verification of margins: branch and bound over the signs of units, with optimised linear relaxations.

A node fixes signs of values before layers: s_j h_j >= 0. There a linear function L h is at least L h - beta_j s_j h_j
for every beta_j >= 0, and the two slopes of a unit whose sign is fixed are one; so the relaxations of `crown` hold with
L - beta s in place of L (beta-CROWN, Wang et al. 2021) and with any slope between the two of a convex function
(alpha-CROWN, Xu et al. 2021). Both are improved by steps of Adam; every value of theirs is a bound that holds,
so that no solver is trusted. A margin is certified once all nodes are positive.
"""

import functools
import time
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from psilon_bench.metrics.crown import Box, boxes_of
from psilon_bench.metrics.exact_network import ExactLayer, ExactNetwork

Verdict = Literal["certified", "broken", "open"]
STEPS, RATE = 10, 0.3  # of Adam at each node
NODES_AT_ONCE = 128
PRICES = (1e1, 1e3, 1e5, 1e7)  # of a violated sign, in units of the slope of the margin: small ones are exact numbers


@dataclass(frozen=True)
class Problem:
    """A row x (input,) with boxes (1, unit) of the values before each layer, and the margin, an output of `last`."""

    last: ExactLayer
    below: list[ExactLayer]
    boxes: list[Box]
    x: Float[Tensor, " input"]
    radius: float

    @functools.cached_property
    def sizes(self) -> list[float]:
        """Return the mean size of the slope of the margin in the values before each layer, over all paths."""
        paths = self.last.steepest
        found = [paths.mean().item()]
        for layer in reversed(self.below[1:]):
            paths = paths @ layer.steepest
            found.insert(0, paths.mean().item())
        return found

    def signs(self) -> list[Float[Tensor, "1 _unit"]]:
        """Return the root: no sign is fixed but those that the boxes tell."""
        return [(box.lower >= 0).double() - (box.upper <= 0).double() for box in self.boxes[1:]]


def verdict(
    net: ExactNetwork, x: Float[Tensor, " input"], one: int, other: int, radius: float, deadline: float
) -> Verdict:
    """Return whether f_one - f_other is positive within `radius` of x, as far as known when the clock shows `deadline`.

    `certified` is proved, `broken` has a point where it is not positive. The clock is time.monotonic(). Nodes whose
    bound is worst are split first, at the unit whose relaxation costs most.
    """
    boxes = boxes_of(net, x[None], radius, net.layers[:-1])
    problem = Problem(row_of(net.less_others(one), other), net.layers[:-1], boxes, x, radius)
    signs, bounds = problem.signs(), torch.full((1,), -torch.inf, dtype=x.dtype)
    while len(bounds) and time.monotonic() < deadline:
        order = bounds.argsort()
        now, later = order[:NODES_AT_ONCE], order[NODES_AT_ONCE:]
        lower, worst = best_bounds(problem, [own[now] for own in signs])
        left = ~(lower > 0)  # what is no number is no proof
        for node in (left & (worst < 0)).nonzero().squeeze(1).tolist():  # all signs are known there
            leaf = [own[now[node : node + 1]] for own in signs]
            for price in PRICES:
                bound, point = solved_leaf(problem, leaf, price)
                logits = net.logits(point[None])[0]
                if logits[one] <= logits[other]:
                    return "broken"
                if bound > 0:
                    break
            else:
                return "open"
            left[node] = False
        split = halves([own[now][left] for own in signs], worst[left])
        signs = [torch.cat([own[later], new]) for own, new in zip(signs, split, strict=True)]
        bounds = torch.cat([bounds[later], lower[left].repeat(2)])
    return "open" if len(bounds) else "certified"


def solved_leaf(
    problem: Problem, signs: list[Float[Tensor, "1 _unit"]], price: float
) -> tuple[float, Float[Tensor, " input"]]:
    """Return the bound where all signs are fixed, by multipliers of a linear programme, and where that ends.

    Neither need be right: the multipliers are those of a bound that holds in any case. The programme is
    min c x + M sum e with s (G x + g) + e >= 0 for the values G x + g of all units, in the ball: the e let it have a
    solution where no input has these signs.
    """
    from scipy.optimize import linprog  # a second that runs of other certificates do not spend

    slope, constant = torch.eye(len(problem.x), dtype=torch.float64), torch.zeros_like(problem.x)
    rows, sides = [], []
    for layer, sign in zip([*problem.below, problem.last], [torch.ones(1, len(problem.x)), *signs], strict=True):
        chosen = torch.where(sign > 0, layer.slopes.positive, layer.slopes.negative)
        slope, constant = chosen @ slope, chosen @ constant + layer.slopes.bias
        rows.append(slope)
        sides.append(constant)
    sign = torch.cat(signs, dim=1)[0]
    prices = torch.cat([torch.full_like(own[0], price * size) for own, size in zip(signs, problem.sizes, strict=True)])
    ball = torch.stack([problem.x - problem.radius, problem.x + problem.radius], dim=1)
    found = linprog(
        torch.cat([rows[-1][0], prices]).numpy(),
        torch.cat([-sign[:, None] * torch.cat(rows[:-1]), -torch.eye(len(sign))], dim=1).numpy(),
        (sign * torch.cat(sides[:-1])).numpy(),
        bounds=np.r_[ball.numpy(), np.tile([0.0, np.inf], (len(sign), 1))],
    )
    if found.x is None:
        return -float("inf"), problem.x
    multipliers = torch.from_numpy(np.maximum(-found.ineqlin.marginals, 0))[None]
    sizes = [own.shape[1] for own in signs]
    bound, _ = lower_bound(problem, signs, signs, list(multipliers.split(sizes, dim=1)))
    point = torch.from_numpy(found.x[: len(problem.x)])
    return bound.item(), point.clamp(problem.x - problem.radius, problem.x + problem.radius)


def row_of(layer: ExactLayer, output: int) -> ExactLayer:
    """Return a layer with one of its outputs alone."""
    rows = slice(output, output + 1)
    own = layer.slopes
    slopes = replace(
        own,
        positive=own.positive[rows],
        negative=own.negative[rows],
        bias=own.bias[rows],
        magnitude=own.magnitude[rows],
    )
    return replace(layer, slopes=slopes, absolute=layer.absolute[rows])


def halves(signs: list[Float[Tensor, "node _unit"]], units: Int[Tensor, " node"]) -> list[Float[Tensor, "child _unit"]]:
    """Return the nodes with a positive sign at one unit each, then the same with a negative one."""
    sizes = [own.shape[1] for own in signs]
    whole, nodes = torch.cat(signs, dim=1), torch.arange(len(units))
    up, down = whole.clone(), whole.clone()
    up[nodes, units], down[nodes, units] = 1.0, -1.0
    return list(torch.cat([up, down]).split(sizes, dim=1))


def best_bounds(
    problem: Problem, signs: list[Float[Tensor, "node _unit"]]
) -> tuple[Float[Tensor, " node"], Int[Tensor, " node"]]:
    """Return the best lower bound found at each node, and the unit to split at, -1 where all signs are fixed."""
    slopes = [torch.full_like(own, 0.5).requires_grad_() for own in signs]
    scaled = [torch.zeros_like(own).requires_grad_() for own in signs]
    adam = torch.optim.Adam([*slopes, *scaled], RATE)
    best, costs = torch.full((len(signs[0]),), -torch.inf, dtype=torch.float64), torch.empty(0)
    for step in range(STEPS):
        with torch.enable_grad():
            multipliers = [size * own for size, own in zip(problem.sizes, scaled, strict=True)]
            found, costs = lower_bound(problem, signs, slopes, multipliers)
        best = torch.maximum(best, found.detach())
        if step == STEPS - 1 or (best > 0).all():
            break
        adam.zero_grad()
        (-found.sum()).backward()
        adam.step()
        with torch.no_grad():
            for slope, multiplier in zip(slopes, scaled, strict=True):
                slope.clamp_(0, 1)
                multiplier.clamp_(min=0)
    fixed = torch.cat(signs, dim=1) != 0
    costs = costs.detach().masked_fill(fixed, -1.0)
    return best, torch.where(fixed.all(dim=1), -1, costs.argmax(dim=1))


def lower_bound(
    problem: Problem,
    signs: list[Float[Tensor, "node _unit"]],
    slopes: list[Float[Tensor, "node _unit"]],
    multipliers: list[Float[Tensor, "node _unit"]],
) -> tuple[Float[Tensor, " node"], Float[Tensor, "node units"]]:
    """Return the bound of `crown.lower_bounds` at each node, and what the relaxation of each unit costs it.

    slopes: of convex functions, from that of negative values, 0, to that of positive ones, 1. multipliers: beta.
    """
    top = problem.last.slopes
    plus, minus = top.positive.expand(len(signs[0]), -1), top.negative.expand(len(signs[0]), -1)
    constant = top.bias - problem.last.errors(problem.boxes[-1].largest)[:, 0]
    costs: list[Tensor] = []
    for k in reversed(range(len(problem.below))):
        own, box = problem.below[k], within(problem.boxes[k + 1], signs[k])
        bend = plus - minus
        concave = bend.clamp_max(0)
        slope = torch.where(signs[k] == 0, slopes[k], (signs[k] > 0).double())
        functions = minus + (bend - concave) * slope + concave * box.chord[:, 0]
        functions = functions - multipliers[k] * signs[k]
        gap = box.gap[..., 0]
        costs.insert(0, bend.abs() * gap)
        constant = constant + (concave * gap).sum(dim=1) + functions @ own.slopes.bias
        constant = constant - functions.abs() @ own.errors(problem.boxes[k].largest)[0]
        plus, minus = functions @ own.slopes.positive, functions @ own.slopes.negative
    return constant + plus @ problem.x - problem.radius * plus.abs().sum(dim=1), torch.cat(costs, dim=1)


def within(box: Box, signs: Float[Tensor, "node unit"]) -> Box:
    """Return the box of each node, whose signs are fixed."""
    return Box(box.lower.where(signs <= 0, box.lower.clamp_min(0)), box.upper.where(signs >= 0, box.upper.clamp_max(0)))
