"""The projection of many rows at once onto the probability simplex, from which the exact zeros come."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

SAMPLE = 8  # rows whose threshold is the first guess for all


def project(lengths: Float[Tensor, "*row entry"]) -> Float[Tensor, "*row entry"]:
    r"""Return argmin_p ||p - u||_2 over p >= 0, sum p = 1, for every row u of `lengths`.

    It is max(u - tau, 0), with the tau for which the entries sum to 1 (Duchi et al. 2008, figure 1). It is
    differentiable where no entry of u is tau itself; the derivative of tau by u is part of it.
    """
    return (lengths - threshold(lengths, torch.ones_like(lengths[..., :1]))).clamp_min(0)


def threshold(lengths: Float[Tensor, "*row entry"], total: Float[Tensor, "*row 1"]) -> Float[Tensor, "*row 1"]:
    """Return the tau of every row u with sum max(u - tau, 0) = total.

    It is (the sum of the entries above it - total) / the number of these entries.
    """
    above = positive(lengths - _Threshold.apply(lengths.detach(), total.detach()))  # type: ignore[no-untyped-call]
    return ((lengths * above).sum(dim=-1, keepdim=True) - total) / above.sum(dim=-1, keepdim=True).clamp_min(1)


def shrink(v: Float[Tensor, "*row entry"], tau: Float[Tensor, "*row 1"]) -> Float[Tensor, "*row entry"]:
    """Return sign(v) max(|v| - tau, 0), for thresholds tau of any sign; where v = 0 it is 0."""
    return _Shrink.apply(v, tau)  # type: ignore[no-untyped-call]


def positive(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return 1 where x > 0 and 0 elsewhere; NaN stays NaN.

    The result has the type of x, for sums over what a comparison gives take ten times as long.
    """
    return x.clamp_min(0).sign_()


class _Threshold(torch.autograd.Function):
    """The threshold tau = (sum of u over S - total) / |S|, where S loses the entries below tau until none is left.

    This is Michelot's algorithm (1986). The first S is what lies above the mean threshold of some rows: whatever S is,
    its tau is not above the true one, and from there on S only shrinks, so the loop ends whatever the rounding. It
    takes half as many steps as from the whole row, and a tenth of the time of sorting. It is an autograd.Function, for
    `torch.func.vmap` alone could not ask whether a row has changed.
    """

    @staticmethod
    def forward(lengths: Float[Tensor, "*row entry"], total: Float[Tensor, "*row 1"]) -> Float[Tensor, "*row 1"]:
        """Return the threshold of every row."""
        everything = (lengths.sum(dim=-1, keepdim=True) - total) / lengths.shape[-1]
        if lengths.numel() // lengths.shape[-1] > 2 * SAMPLE:
            rows, totals = lengths.flatten(0, -2), total.expand_as(lengths[..., :1]).flatten()
            some = slice(None, None, len(rows) // SAMPLE)
            guess = _michelot(rows[some], totals[some, None], everything.flatten()[some, None]).nanmean()
            above = (lengths - guess).clamp_min_(0)
            sums = above.sum(dim=-1, keepdim=True)
            count = above.sign_().sum(dim=-1, keepdim=True)
            own = torch.maximum(everything, guess + (sums - total) / count.clamp_min(1))
            start = torch.where(count > 0, own, everything)
        else:
            start = everything
        return _michelot(lengths, total, start)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        """Say that autograd stops here: `threshold` has the derivative."""
        ctx.mark_non_differentiable(output)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, int | None], lengths: Tensor, total: Tensor) -> tuple[Tensor, int]:
        """Return the thresholds of all members, which are rows like others, and the axis of the members."""
        own = [
            x.expand(info.batch_size, *x.shape) if dim is None else x.movedim(dim, 0)
            for x, dim in zip((lengths, total), in_dims, strict=True)
        ]
        return _Threshold.apply(*own), 0  # type: ignore[no-untyped-call]


def _michelot(
    lengths: Float[Tensor, "*row entry"], total: Float[Tensor, "*row 1"], tau: Float[Tensor, "*row 1"]
) -> Float[Tensor, "*row 1"]:
    """Return the thresholds, starting at a tau that is not above the true one."""
    count = torch.full_like(tau, torch.inf)
    while True:
        above = (lengths - tau).clamp_min_(0)
        sums = above.sum(dim=-1, keepdim=True)
        left = above.sign_().sum(dim=-1, keepdim=True).clamp_min_(1)
        shrinks = left < count
        if not shrinks.any():
            return tau
        tau, count = torch.where(shrinks, tau + (sums - total) / left, tau), torch.minimum(left, count)


class _Shrink(torch.autograd.Function):
    """The soft threshold with its derivative written out: the mask of what is left is the sign of the result."""

    generate_vmap_rule = True

    @staticmethod
    def forward(v: Float[Tensor, "*row entry"], tau: Float[Tensor, "*row 1"]) -> Float[Tensor, "*row entry"]:
        """Return sign(v) max(|v| - tau, 0)."""
        return (v.abs() - tau).clamp_min_(0) * v.sign()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        """Keep the result, whose signs are the mask."""
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Return the derivatives by v, 1 where the result is not 0, and by tau, -sign(v) there."""
        (result,) = ctx.saved_tensors
        signs = result.sign()
        return grad * signs.abs(), -(grad * signs).sum(dim=-1, keepdim=True)
