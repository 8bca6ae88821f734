"""The unit path norm, which PathProx minimises, as a penalty that plain gradients follow."""

from typing import Any

from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from psilon_bench.models.units import half_squares, unit_sizes
from psilon_bench.regularizers.unit_regularizer import UnitRegularizer


class UnitPathNorm(UnitRegularizer):
    r"""The penalty sum_k ||w_k||_2 ||v_k||_2 over all units, and 1/2 sum w^2 over the layers in no pair.

    Biases are excluded. Plain gradient descent on it makes units small, but never exactly zero.
    """

    @override
    def penalty(self, model: Any, **own: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """Return the unit path norm and the half squares of the unpaired layers, added up."""
        units = sum((sizes.sum() for sizes in unit_sizes(model)), start=super().penalty(model))
        return units + half_squares(model.unpaired())
