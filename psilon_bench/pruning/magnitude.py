"""Pruning by magnitude, the usual comparison: the smallest weights become zero after training."""

from typing import Annotated, Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from psilon_bench.config.sections import TrainerSection
from psilon_bench.errors import UsageError
from psilon_bench.models.offers import HasPlain
from psilon_bench.pruning.pruner import Pruner


class Magnitude(Pruner):
    """Pruning of the fraction `amount` of all weights of the plain network together, those with the smallest |w|."""

    def __init__(self, amount: Annotated[float, Field(ge=0, le=1)]) -> None:
        self.amount = amount

    @override
    def check(self, model: Any, trainer: TrainerSection, steps: int) -> None:
        """Raise a UsageError where the network offers no plain weights to choose from."""
        if not isinstance(model, HasPlain):
            raise UsageError(
                f"it needs the weights of a plain network, and {type(model).__name__} offers no plain() "
                "(see HasPlain in psilon_bench.models.offers)"
            )

    def first_step(self, steps: int) -> int:
        """Return `steps`: the pruner acts after training."""
        return steps

    @override
    @torch.no_grad()
    def prune(self, model: Any, x: Float[Tensor, " row *input"]) -> dict[str, float]:
        """Set weights to 0 in place, without biases, until round(amount * number of weights) of them are 0.

        There are more zeros where there were more before.
        """
        matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
        sizes = torch.cat([matrix.abs().flatten() for matrix in matrices])
        smallest = sizes.argsort(stable=True)[: round(self.amount * len(sizes))]
        keep = torch.ones_like(sizes).index_fill_(0, smallest, 0)
        for matrix, own in zip(matrices, keep.split([matrix.numel() for matrix in matrices]), strict=True):
            matrix.mul_(own.view_as(matrix))
        return {}
