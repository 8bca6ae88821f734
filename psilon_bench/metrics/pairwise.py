"""How far the difference of two logits moves at most: a path norm for each pair of classes, at no cost to speak of."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from psilon_bench.metrics.exact_network import ExactNetwork, largest_values
from psilon_bench.metrics.rounding import gamma_of_bounds


def pairwise_margins(
    net: ExactNetwork, x: Float[Tensor, "batch input"], y: Int[Tensor, " batch"], radius: float
) -> Float[Tensor, "batch class"]:
    r"""Return lower bounds of f_y - f_k for each class k while inputs move by at most `radius`; infinite for k = y.

    With S_k = max(|P_k|, |N_k|), the difference moves by at most

        D_yk radius,    D_yk = max(|P_K,y - P_K,k|, |N_K,y - N_K,k|) S_(K-1) ... S_1 1,

    the path norm of the network that ends in the difference of two outputs. It is never above the path norm of both
    outputs, nor above that of all. x is float64; the bounds hold for exact numbers and for the network as it is
    evaluated, see exact_network. They are linear in the radius.
    """
    logits, moves = net.logits(x), net.reach[-2]
    largest, off = largest_values(net, x, radius)
    margins = torch.full_like(logits, torch.inf)
    for one in y.unique().tolist():
        rows, last = (y == one).nonzero().squeeze(1), net.less_others(one)
        change = radius * (last.steepest @ moves) * (1 + gamma_of_bounds(last.slopes.roundings))
        errors = off[rows] @ last.steepest.T + last.errors(largest[-1][rows])
        lower = logits[rows, one, None] - logits[rows] - change - errors
        margins[rows] = lower.index_fill(1, torch.tensor([one]), torch.inf)
    return margins


def pairwise_radii(
    net: ExactNetwork, x: Float[Tensor, "batch input"], y: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Return for each row the radius (L_inf) below which no movement of the inputs changes the class from y.

    It is the least of (f_y - f_k) / D_yk, less errors; 0 where y is not the predicted class, and infinite where the
    logits read nothing.
    """
    still, moved = (pairwise_margins(net, x, y, radius) for radius in (0.0, 1.0))
    others = torch.nn.functional.one_hot(y, still.shape[1]) == 0
    rounding = torch.finfo(still.dtype).eps * (still.abs() + moved.abs())  # of the difference, more than it is off
    slope = (still - moved + rounding).where(others, 1)
    reads = torch.stack([net.less_others(one).steepest.any(dim=1) for one in range(still.shape[1])])[y]
    radii = torch.where(reads, still / slope, torch.inf).where(still > 0, 0)
    return radii.where(others, torch.inf).amin(dim=1)
