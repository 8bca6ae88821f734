"""Weight decay of networks whose units read with unit norm."""

from typing import Any

from torch import Tensor

from psilon_bench.models.units import all_layers, half_squares
from psilon_bench.regularizers.unit_regularizer import UnitRegularizer, to_unit_norm


class UnitNormDecay(UnitRegularizer):
    r"""Half the squares of all weights, and w_k <- w_k / ||w_k|| after each step; biases are kept.

    The projection of PathProx with a ridge in the place of its prox: sum_k (1 + ||v_k||^2) / 2, so no unit goes to 0.
    """

    def penalty(self, model: Any, **own: Tensor) -> Tensor:
        """The number itself, a scalar."""
        return super().penalty(model) + half_squares(all_layers(model))

    def after_step(self, model: Any, step: Tensor, before: dict[str, Tensor], **own: Tensor) -> None:
        """Project the incoming weights."""
        for pair in model.units():
            to_unit_norm(pair)
