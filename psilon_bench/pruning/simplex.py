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
    """Newton's method for sum max(u - tau, 0) = 1 from below: monotone, exact after as many steps as it has to take.

    Seven steps for rows of 500, less than half the time of sorting them. Michelot 1986. A Function of its own, for the
    loop ends when no row changes any more, which vmap alone could not ask.
    """

    @staticmethod
    def forward(lengths: Tensor) -> Tensor:
        tau = (lengths.sum(dim=-1, keepdim=True) - 1) / lengths.shape[-1]
        while True:
            above = (lengths - tau).clamp_min(0)
            step = (above.sum(dim=-1, keepdim=True) - 1) / torch.count_nonzero(above, dim=-1).clamp_min(1)[..., None]
            new = tau + step
            if not (new > tau).any():
                return tau
            tau = new

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.mark_non_differentiable(output)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int], lengths: Tensor) -> tuple[Tensor, int]:
        return _Threshold.apply(lengths.movedim(in_dims[0], 0)), 0
