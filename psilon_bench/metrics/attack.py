"""Projected gradient descent on the margin: which rows lose their class to a small movement of the inputs."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from psilon_bench.metrics.certificate import margin

STEP = 2.5  # in units of radius / steps, so that an attack may cross the ball (Madry et al. 2018)


def withstands(
    logits: Callable[[Float[Tensor, "*member some input"]], Float[Tensor, "*member some class"]],
    x: Float[Tensor, "*member batch input"],
    y: Int[Tensor, "*member batch"],
    radius: float | Float[Tensor, "batch 1"],
    steps: int,
    still_open: Bool[Tensor, "*member batch"] | None = None,
) -> Bool[Tensor, "*member batch"]:
    """Return which rows have the class y at each point of an attack within `radius` (L_inf), x itself among them.

    The attack is that of Madry et al. 2018 without its random start, so that it is the same each time: x' moves by
    2.5 radius / steps against the sign of the margin's gradient and back into the ball. Rows leave it once they lose y,
    of several networks once all of them do. Rows that are not `still_open` are not attacked, and count as lost.
    """
    held = torch.ones_like(y, dtype=torch.bool) if still_open is None else still_open.clone()
    radius = torch.as_tensor(radius, dtype=x.dtype).expand(x.shape[-2], 1)
    points = x
    for step in range(steps + 1):
        (left,) = held.reshape(-1, held.shape[-1]).any(dim=0).nonzero(as_tuple=True)
        if not len(left):
            break
        here = points[..., left, :].detach().requires_grad_(step < steps)
        with torch.set_grad_enabled(step < steps):
            margins = margin("multiclass", logits(here), y[..., left])
        held[..., left] &= margins.detach() > 0
        if step < steps:
            (slopes,) = torch.autograd.grad(margins.sum(), here)
            moved = here.detach() - STEP * radius[left] / steps * slopes.sign()
            start = x[..., left, :]
            points = points.index_copy(-2, left, moved.clamp(start - radius[left], start + radius[left]))
    return held
