"""Pruning of units: those that hardly matter become exact zeros after training, and the compact network loses them."""

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn

from psilon_bench.config.schema import TrainerSection
from psilon_bench.errors import UsageError
from psilon_bench.models.offers import HasPlain
from psilon_bench.models.units import (
    incoming_norms,
    outgoing_norms,
    pairs_of,
    scale_bias,
    scale_incoming,
    scale_outgoing,
)
from psilon_bench.pruning.pruner import Pruner


class Units(Pruner):
    """Units of size ||(w_k, a_k)|| ||v_k|| <= threshold, the bias a_k included: w_k, a_k and v_k become 0.

    What the next layer takes from a unit moves by at most `threshold` times ||(x, 1)||, x what the unit reads; not at
    all for those that a prox has put to exactly 0, so at threshold 0.
    """

    def __init__(self, threshold: Annotated[float, Field(ge=0, allow_inf_nan=False)]) -> None:
        self.threshold = threshold

    def check(self, model: nn.Module, trainer: TrainerSection, steps: int) -> None:
        """UsageError where the network says of no layers that they are pairs with units between them."""
        if not isinstance(model, HasPlain) or not pairs_of(model):
            raise UsageError(
                f"it needs pairs of plain layers with units between them, and this {type(model).__name__} has none"
            )

    def first_step(self, steps: int) -> int:
        """After training."""
        return steps

    @torch.no_grad()
    def prune(self, model: Any) -> None:
        """Every pair of the network as it is now."""
        for pair in model.units():
            sizes = torch.hypot(incoming_norms(pair), pair.incoming.bias) * outgoing_norms(pair)
            alive = (sizes > self.threshold).to(sizes.dtype)
            scale_incoming(pair, alive)
            scale_bias(pair.incoming, alive)
            scale_outgoing(pair, alive)


class UnitsDuring(Units):
    """The same before the first step and after each: where w_k, a_k and v_k are 0, so are their gradients."""

    def after_step(self, model: Any) -> None:
        """Every pair, in training."""
        self.prune(model)
