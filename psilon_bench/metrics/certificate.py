"""What a Lipschitz bound certifies: predictions that stay the same while inputs move by no more than a radius."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from psilon_bench.data.task import Kind
from psilon_bench.metrics.prediction import Logits, Shares, Targets, row_mean


def certified_accuracies(
    kind: Kind,
    logits: Logits,
    y: Targets,
    bound: Float[Tensor, ""],
    radii: Sequence[float],
    shares: Shares | None = None,
) -> dict[str, Float[Tensor, ""]]:
    """Return the certified accuracy at each radius, by names such as `certified_accuracy/0.1`."""
    return {
        f"certified_accuracy/{radius:g}": certified_accuracy(kind, logits, y, bound, radius, shares) for radius in radii
    }


def certified_accuracy(
    kind: Kind, logits: Logits, y: Targets, bound: Float[Tensor, ""], radius: float, shares: Shares | None = None
) -> Float[Tensor, ""]:
    """Return the fraction of rows, or of weights, that are right and stay so when inputs move by `radius` (L_inf).

    `bound` is a B with |f(x) - f(y)|_1 <= B |x - y|_inf. The margin of a row changes by at most bound * radius, for a
    difference of two coordinates is at most their L1 norm; so a row counts where its margin is above that.
    """
    return row_mean((margin(kind, logits, y) > bound * radius).to(logits.dtype), shares)


def certified_radii(kind: Kind, logits: Logits, bound: Float[Tensor, ""]) -> Float[Tensor, " batch"]:
    """Return for each row the radius (L_inf) within which no movement of the inputs changes the predicted class.

    It is the margin of the predicted class over `bound`, the B of `certified_accuracy`, and infinite where B is 0.
    """
    if kind == "binary":
        return margin(kind, logits, (logits > 0).to(logits.dtype)) / bound
    return margin(kind, logits, logits.argmax(dim=-1)) / bound


def margin(
    kind: Kind,
    logits: Float[Tensor, "*member batch output"],
    y: Float[Tensor, "*member batch output"] | Int[Tensor, "*member batch"],
) -> Float[Tensor, "*member batch"]:
    """Return the logit of the right class less the largest other one; of two classes, the logit with the class's sign.

    It is positive where the prediction is right.
    """
    if kind == "binary":
        return (logits * (2 * y - 1)).squeeze(-1)
    right = torch.nn.functional.one_hot(y, logits.shape[-1]).bool()
    return logits.where(right, 0).sum(dim=-1) - logits.where(~right, -torch.inf).amax(dim=-1)
