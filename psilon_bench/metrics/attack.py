"""Projected gradient descent on the margin: which rows lose their class to a small movement of the inputs."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from psilon_bench.metrics.certificate import margin

STEP = 2.5  # in units of radius / steps, so that an attack may cross the ball (Madry et al. 2018)


def withstands(
    logits: Callable[[Float[Tensor, "some input"]], Float[Tensor, "some class"]],
    x: Float[Tensor, "batch input"],
    y: Int[Tensor, " batch"],
    radius: float,
    steps: int,
) -> Bool[Tensor, " batch"]:
    """Return which rows have the class y at each point of an attack within `radius` (L_inf), x itself among them.

    The attack is that of Madry et al. 2018 without its random start, so that it is the same each time: x' moves by
    2.5 radius / steps against the sign of the margin's gradient and back into the ball. Rows leave it once they lose y.
    """
    held = torch.ones(len(x), dtype=torch.bool)
    points = x
    for step in range(steps + 1):
        (left,) = held.nonzero(as_tuple=True)
        if not len(left):
            break
        here = points[left].detach().requires_grad_(step < steps)
        with torch.set_grad_enabled(step < steps):
            margins = margin("multiclass", logits(here), y[left])
        held[left] = margins.detach() > 0
        if step < steps:
            (slopes,) = torch.autograd.grad(margins.sum(), here)
            moved = here.detach() - STEP * radius / steps * slopes.sign()
            points = points.index_copy(0, left, moved.clamp(x[left] - radius, x[left] + radius))
    return held
