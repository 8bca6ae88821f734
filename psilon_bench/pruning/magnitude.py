"""Pruning by magnitude: the smallest weights become zero after training. The usual comparison."""

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn

from psilon_bench.config.schema import TrainerSection
from psilon_bench.errors import UsageError
from psilon_bench.models.offers import HasPlain
from psilon_bench.pruning.pruner import Pruner


class Magnitude(Pruner):
    """Of all weights of the plain network together, the `amount` (a fraction) with the smallest |w| become 0."""

    def __init__(self, amount: Annotated[float, Field(ge=0, le=1)]) -> None:
        self.amount = amount

    def check(self, model: nn.Module, trainer: TrainerSection, steps: int) -> None:
        """UsageError where the network has no weights to choose from."""
        if not isinstance(model, HasPlain):
            raise UsageError(
                f"it needs the weights of a plain network, and {type(model).__name__} offers no plain() "
                "(see HasPlain in psilon_bench.models.offers)"
            )

    def first_step(self, steps: int) -> int:
        """After training."""
        return steps

    @torch.no_grad()
    def prune(self, model: Any) -> None:
        """Exactly round(amount * number of weights) zeros, biases excluded; fewer never, more where there were more."""
        matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
        sizes = torch.cat([matrix.abs().flatten() for matrix in matrices])
        smallest = sizes.argsort(stable=True)[: round(self.amount * len(sizes))]
        keep = torch.ones_like(sizes).index_fill_(0, smallest, 0)
        for matrix, own in zip(matrices, keep.split([matrix.numel() for matrix in matrices]), strict=True):
            matrix.mul_(own.view_as(matrix))
