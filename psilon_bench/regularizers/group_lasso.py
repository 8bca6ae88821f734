"""The group lasso over units, as a penalty that plain gradients follow."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from psilon_bench.errors import UsageError
from psilon_bench.models.offers import HasWeights
from psilon_bench.models.units import pairs_of
from psilon_bench.regularizers.regularizer import Regularizer


class GroupLasso(Regularizer):
    r"""The penalty sum_j ||W_j||_2 over the rows of all layers but the last, and over the columns of the last.

    Biases are excluded. A row holds the incoming weights of a unit (in a convolution, of a channel), a column of the
    last layer the outgoing weights. The gradient makes groups small but never exactly zero, which takes a prox. Yuan &
    Lin 2006; Yang et al. 2022 compare PathProx with it.
    """

    def check(self, model: nn.Module) -> None:
        """Raise a UsageError where the network does not offer plain layers in the order of application."""
        if not isinstance(model, HasWeights) or not pairs_of(model):
            raise UsageError(f"it needs plain layers one after the other, and this {type(model).__name__} has none")

    @override
    def penalty(self, model: Any, **own: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """Return the sum of the norms of all groups."""
        *weights, last = model.weights()
        groups = [weight.flatten(1) for weight in weights] + [last.flatten(1).T]
        return torch.cat([torch.linalg.vector_norm(group, dim=1) for group in groups]).sum()
