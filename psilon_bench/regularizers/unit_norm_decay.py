"""Weight decay of networks whose units have incoming weights of unit norm."""

from typing import Any

from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from psilon_bench.models.units import all_layers, half_squares
from psilon_bench.regularizers.unit_regularizer import UnitRegularizer, to_unit_norm


class UnitNormDecay(UnitRegularizer):
    r"""The penalty 1/2 sum w^2 over all weights, with w_k <- w_k / ||w_k||_2 after each step; biases are kept.

    It has the projection of PathProx, but a ridge in the place of its prox. The penalty of the pairs is
    sum_k (1 + ||v_k||^2) / 2, so no unit goes to 0.
    """

    @override
    def penalty(self, model: Any, **own: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """Return 1/2 sum w^2 over all weights, without biases."""
        return super().penalty(model) + half_squares(all_layers(model))

    @override
    def after_step(
        self, model: Any, step: Float[Tensor, ""], before: dict[str, Tensor], **own: Float[Tensor, ""]
    ) -> None:
        """Project the incoming weights of every unit, in place."""
        for pair in model.units():
            to_unit_norm(pair)
