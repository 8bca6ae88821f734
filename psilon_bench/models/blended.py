"""Directions of weight-normalised rows blended with their projections onto the simplex, with a derivative in one go."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from psilon_bench.models.simplex import members_first, thresholds_near


class Rows(NamedTuple):
    """What becomes of the rows of V: (row, entry) and (row, 1)."""

    direction: Tensor  # (1 - a) v + a r
    norms: Tensor  # ||v||_1, and of pairs the 1-norm of max(|v+|, |v-|)
    projected: Tensor  # r, not differentiable, and so are the rest
    tau: Tensor  # what the sizes lose
    above: Tensor  # how many sizes are above tau


def blend(
    v: Float[Tensor, "*row entry"], tau: Float[Tensor, "*row 1"], a: float, strength: float | None, pairs: bool
) -> Rows:
    r"""Return (1 - a) v + a r for every row v, where r has the 1-norm of v and is the direction of its projection.

    With sizes u = |v|, r = c sign(v) max(u - t, 0). Without a strength c = ||v||_1, and t is that of the projection of
    u: the sum of max(u - t, 0) is 1. With it c = strength and that sum is ||v||_1 / strength, so that r is ||v||_1
    times the projection of the row once it is brought to the 1-norm `strength`. pairs: a row is [v+, v-] and
    u = max(|v+|, |v-|).

    `tau` are thresholds to begin with, of any size, such as those of the step before: sizes above them are those above
    the new ones in most rows, which two passes over V then show.
    """
    return Rows(*_Blend.apply(v, tau, a, strength, pairs))  # type: ignore[no-untyped-call]


def sizes_of(v: Float[Tensor, "*row entry"], pairs: bool) -> Float[Tensor, "*row size"]:
    """Return |v|, or of pairs max(|v+|, |v-|)."""
    return torch.maximum(*v.abs().chunk(2, dim=-1)) if pairs else v.abs()


def slopes_of(v: Float[Tensor, "*row entry"], pairs: bool) -> Float[Tensor, "*row entry"]:
    """Return the derivative of each size by the entry: the sign; of pairs that of the larger, halves where equal."""
    if not pairs:
        return v.sign()
    plus, minus = v.chunk(2, dim=-1)
    one, other = (plus + minus).sign_(), (plus - minus).sign_()  # max(|a|, |b|) = (|a + b| + |a - b|) / 2
    return torch.cat([one + other, one - other], dim=-1).mul_(0.5)


class _Blend(torch.autograd.Function):
    """`blend`, whose derivative is written out; as torch derives its operations it takes twice as many passes."""

    @staticmethod
    def forward(v: Tensor, tau: Tensor, a: float, strength: float | None, pairs: bool) -> tuple[Tensor, ...]:
        """Return the tensors of Rows."""
        sizes = sizes_of(v, pairs)
        norms = sizes.sum(dim=-1, keepdim=True)
        total = torch.ones_like(norms) if strength is None else norms / strength
        tau, above = thresholds_near(sizes, total, tau)
        left = v.abs().sub_(tau) if pairs else sizes.sub_(tau)
        projected = left.clamp_min_(0).mul_(v.sign()).mul_(norms if strength is None else strength)
        return torch.lerp(v, projected, a), norms, projected, tau, above

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keep what the derivative needs."""
        v, _, ctx.a, ctx.strength, ctx.pairs = inputs
        _, norms, projected, tau, above = output
        ctx.mark_non_differentiable(projected, tau, above)
        ctx.save_for_backward(v, norms, projected, above)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, by_direction: Tensor, by_norms: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        r"""Return the derivative by v, of G = by_direction and h = by_norms, with s = du / dv:

        (1 - a) G + m (a c G - s q / |S|) + s (h + d)           m = 1 where something is left of v, else 0
        q = a c sum G sign(r)                                   for dt/du = ([u > t] - d total / du) / |S|, S = {u > t}
        d = a sum G r / ||v||_1  without a strength             for dc/du = 1
        d = q / (strength |S|)   with it                        for d total / du = 1 / strength
        """
        v, norms, projected, above = ctx.saved_tensors
        a, strength = ctx.a, ctx.strength
        scale = a * norms if strength is None else torch.full_like(norms, a * strength)
        left = projected.sign()
        own = by_direction * left
        lost = scale * own.sum(dim=-1, keepdim=True) / above
        if strength is None:
            of_norms = a * (by_direction * projected).sum(dim=-1, keepdim=True) / norms.masked_fill(norms == 0, 1)
        else:
            of_norms = lost / strength
        slopes = slopes_of(v, ctx.pairs)
        own = torch.mul(by_direction, scale, out=own).addcmul_(slopes, -lost).mul_(left.abs_())
        return own.add_(by_direction, alpha=1 - a).addcmul_(slopes, by_norms + of_norms), None, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], v: Tensor, tau: Tensor, *settings: Any) -> Any:
        """Return the rows of all members, and the axis of the members."""
        own = members_first(info, in_dims[:2], v, tau)
        return _Blend.apply(*own, *settings), (0,) * len(Rows._fields)  # type: ignore[no-untyped-call]
