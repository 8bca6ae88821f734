"""What a Lipschitz bound promises of predictions: they hold wherever the inputs move by no more than a radius."""

from collections.abc import Sequence

import torch
from torch import Tensor

from psilon_bench.data.task import Kind


def certified_accuracies(
    kind: Kind, logits: Tensor, y: Tensor, bound: Tensor, radii: Sequence[float]
) -> dict[str, Tensor]:
    """`certified_accuracy/0.1` for each radius."""
    return {f"certified_accuracy/{radius:g}": certified_accuracy(kind, logits, y, bound, radius) for radius in radii}


def certified_accuracy(kind: Kind, logits: Tensor, y: Tensor, bound: Tensor, radius: float) -> Tensor:
    """Fraction of rows that are right and stay right for every change of the inputs by at most `radius` (L_inf).

    bound: of |f(x) - f(y)|_1 by |x - y|_inf. The margin is the logit of the right class less the largest other one
    (binary: the logit, with the sign of the class); it changes by at most bound * radius, for a difference of two
    coordinates is at most their L1 norm. So a row counts where its margin is above that.
    """
    return (margin(kind, logits, y) > bound * radius).to(logits.dtype).mean()


def margin(kind: Kind, logits: Tensor, y: Tensor) -> Tensor:
    """Positive where the prediction is right; shape (rows,)."""
    if kind == "binary":
        return (logits * (2 * y - 1)).squeeze(-1)
    right = torch.nn.functional.one_hot(y, logits.shape[-1]).bool()
    return logits.where(right, 0).sum(dim=-1) - logits.where(~right, -torch.inf).amax(dim=-1)
