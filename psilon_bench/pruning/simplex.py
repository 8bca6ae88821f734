"""The nearest point of the probability simplex, for many rows at once: where the exact zeros come from."""

from typing import Any

import torch
from torch import Tensor


def project(lengths: Tensor) -> Tensor:
    r"""argmin_p ||p - u||_2 over p >= 0, sum p = 1, for every row u of `lengths` (..., d): max(u - tau, 0).

    tau is such that the entries sum to 1. Differentiable where no entry of u is tau itself; tau counts as the function
    of u that it is. Duchi et al. 2008, figure 1.
    """
    return (lengths - threshold(lengths)).clamp_min(0)


def threshold(lengths: Tensor) -> Tensor:
    """The tau of `project`, shape (..., 1): (the sum of the entries above it - 1) / their number."""
    above = lengths > _Threshold.apply(lengths.detach())
    return ((lengths * above).sum(dim=-1, keepdim=True) - 1) / above.sum(dim=-1, keepdim=True).clamp_min(1)


class _Threshold(torch.autograd.Function):
    """tau = (sum of u over S - 1) / |S|, S less what is below, until no row loses any more. Michelot 1986.

    Seven steps for rows of 500, less than half the time of sorting them. S only shrinks, so it ends whatever the
    rounding. A Function of its own, for vmap alone could not ask whether a row has changed.
    """

    @staticmethod
    def forward(lengths: Tensor) -> Tensor:
        count = torch.full_like(lengths[..., :1], lengths.shape[-1])
        tau = (lengths.sum(dim=-1, keepdim=True) - 1) / count
        while True:
            above = (lengths - tau).clamp_min(0)
            left = torch.count_nonzero(above, dim=-1)[..., None].to(count.dtype).clamp_min(1)
            shrinks = left < count
            if not shrinks.any():
                return tau
            new = tau + (above.sum(dim=-1, keepdim=True) - 1) / left
            tau, count = torch.where(shrinks, new, tau), torch.minimum(left, count)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.mark_non_differentiable(output)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int], lengths: Tensor) -> tuple[Tensor, int]:
        return _Threshold.apply(lengths.movedim(in_dims[0], 0)), 0
