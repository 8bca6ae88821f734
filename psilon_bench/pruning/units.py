"""Pruning of units: units that hardly matter become exact zeros, and the compact network has none of them."""

from typing import Annotated, Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from psilon_bench.config.sections import TrainerSection
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
    """Pruning of units of size ||(w_k, a_k)||_2 ||v_k||_2 <= threshold: w_k, a_k and v_k become 0 after training.

    The size includes the bias a_k. What the next layer takes from such a unit moves by at most `threshold` times
    ||(x, 1)||_2, where x is what the unit reads. At threshold 0 it does not move: a prox has set these units to 0.
    """

    def __init__(self, threshold: Annotated[float, Field(ge=0, allow_inf_nan=False)]) -> None:
        self.threshold = threshold

    @override
    def check(self, model: Any, trainer: TrainerSection, steps: int) -> None:
        """Raise a UsageError where the network offers no pairs of layers with units between them, or is not plain."""
        if not isinstance(model, HasPlain) or not pairs_of(model):
            raise UsageError(
                f"it needs pairs of plain layers with units between them, and this {type(model).__name__} has none"
            )

    def first_step(self, steps: int) -> int:
        """Return `steps`: the pruner acts after training."""
        return steps

    @override
    @torch.no_grad()
    def prune(self, model: Any, x: Float[Tensor, " row *input"]) -> dict[str, float]:
        """Set the small units of every pair to 0, in place."""
        self.drop(model)
        return {}

    def drop(self, model: Any) -> None:
        """Set the small units of every pair to 0, in place, without gradients."""
        for pair in model.units():
            sizes = torch.hypot(incoming_norms(pair), pair.incoming.bias) * outgoing_norms(pair)
            alive = (sizes > self.threshold).to(sizes.dtype)
            scale_incoming(pair, alive)
            scale_bias(pair.incoming, alive)
            scale_outgoing(pair, alive)


class UnitsDuring(Units):
    """Pruning of the same units before the first step and after each.

    They stay 0, for where w_k, a_k and v_k are 0, so are their gradients.
    """

    def after_step(self, model: Any) -> None:
        """Set the small units of every pair to 0, in place."""
        self.drop(model)
