"""The projection of many rows at once onto the probability simplex, from which the exact zeros come.

The projection of a row u is max(u - tau, 0), with the tau for which the entries sum to 1 (Duchi et al. 2008, figure 1).
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def members_first(info: Any, in_dims: tuple[int | None, ...], *tensors: Tensor) -> list[Tensor]:
    """Return the tensors that vmap hands to an autograd.Function with the axis of the members first, in all of them."""
    return [
        x.expand(info.batch_size, *x.shape) if dim is None else x.movedim(dim, 0)
        for x, dim in zip(tensors, in_dims, strict=True)
    ]


def exceeding(lengths: Float[Tensor, "*row entry"], tau: Float[Tensor, "*row 1"]) -> Float[Tensor, "*row entry"]:
    """Return 1 where an entry is above its row's tau and 0 elsewhere, in the entries' type; without a gradient."""
    return torch.gt(lengths, tau, out=torch.empty_like(lengths))


def settled(
    lengths: Float[Tensor, "*row entry"], total: Float[Tensor, "*row 1"], tau: Float[Tensor, "*row 1"]
) -> tuple[Float[Tensor, "*row 1"], Float[Tensor, "*row 1"]]:
    """Return the thresholds and how many entries lie above them, starting at a tau that is not above the true one.

    tau = (sum of u over S - total) / |S|, where S loses the entries below tau until none is left: Michelot's algorithm
    (1986). Whatever S is, its tau is not above the true one, and S only shrinks, so that it ends whatever the rounding.
    """
    count = torch.full_like(tau, torch.inf)
    while True:
        above = exceeding(lengths, tau)
        left = above.sum(dim=-1, keepdim=True)
        shrinks = left < count
        if not shrinks.any():
            return tau, count.clamp_min_(1)
        sums = above.mul_(lengths).sum(dim=-1, keepdim=True)
        tau, count = torch.where(shrinks & (left > 0), (sums - total) / left, tau), torch.minimum(left, count)


def thresholds_near(
    lengths: Float[Tensor, "*row entry"], total: Float[Tensor, "*row 1"], guess: Float[Tensor, "*row 1"]
) -> tuple[Float[Tensor, "*row 1"], Float[Tensor, "*row 1"]]:
    """Return the tau of every row u with sum max(u - tau, 0) = total, and how many entries lie above it.

    The search begins at a guess of any size; -infinity leaves no entry out. Where the entries above the guess are those
    above their own tau, this is the true one, which two passes show. Only rows for which they are not go on, see
    `settled`.
    """
    above = exceeding(lengths, guess)
    count = above.sum(dim=-1, keepdim=True)
    sums = above.mul_(lengths).sum(dim=-1, keepdim=True)
    tau = (sums - total) / count
    if not count.all():
        tau = torch.where(count > 0, tau, (lengths.sum(dim=-1, keepdim=True) - total) / lengths.shape[-1])
    open_rows = (exceeding(lengths, tau).sum(dim=-1) != count[..., 0]).flatten().nonzero().flatten()
    if len(open_rows):
        rows, totals = lengths.flatten(0, -2)[open_rows], total.reshape(-1, 1)[open_rows]
        own = settled(rows, totals, tau.reshape(-1, 1)[open_rows])
        tau, count = tau.contiguous(), count.contiguous()
        for values, found in zip((tau, count), own, strict=True):
            values.view(-1, 1).index_copy_(0, open_rows, found)
    return tau, count.clamp_min_(1)
