"""The unit path norm as a penalty: what PathProx minimises, by plain gradient."""

from typing import Any

from torch import Tensor

from psilon_bench.models.units import half_squares, unit_sizes
from psilon_bench.regularizers.unit_regularizer import UnitRegularizer


class UnitPathNorm(UnitRegularizer):
    r"""sum_k ||w_k||_2 ||v_k||_2 over all units, and half the squares of the layers in no pair; biases excluded."""

    def penalty(self, model: Any, **own: Tensor) -> Tensor:
        """The number itself, a scalar."""
        units = sum((sizes.sum() for sizes in unit_sizes(model)), start=super().penalty(model))
        return units + half_squares(model.unpaired())
