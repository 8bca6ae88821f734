"""Group lasso over rows, as a penalty by plain gradient."""

from typing import Any

import torch
from torch import Tensor, nn

from psilon_bench.errors import UsageError
from psilon_bench.models.offers import HasWeights
from psilon_bench.models.units import pairs_of
from psilon_bench.regularizers.regularizer import Regularizer


class GroupLasso(Regularizer):
    r"""sum of ||W_j||_2 over the rows of all layers but the last, and over the columns of the last; biases excluded.

    A row holds the incoming weights of a unit (of a convolution: of a channel), a column of the last layer its outgoing
    ones. Small groups, no exact zeros: those need a prox. Yuan & Lin 2006; as compared with in Yang et al. 2022.
    """

    def check(self, model: nn.Module) -> None:
        """UsageError where the network does not offer plain layers in the order of application."""
        if not isinstance(model, HasWeights) or not pairs_of(model):
            raise UsageError(f"it needs plain layers one after the other, and this {type(model).__name__} has none")

    def penalty(self, model: Any, **own: Tensor) -> Tensor:
        """The number itself, a scalar."""
        *weights, last = model.weights()
        groups = [weight.flatten(1) for weight in weights] + [last.flatten(1).T]
        return torch.cat([torch.linalg.vector_norm(group, dim=1) for group in groups]).sum()
