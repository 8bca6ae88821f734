"""A regularizer of your own: the log-sum penalty."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from psilon_bench.errors import UsageError
from psilon_bench.models.offers import HasWeights
from psilon_bench.regularizers.regularizer import Regularizer


class LogSum(Regularizer):
    r"""R(W) = sum_ij log(1 + |W_ij| / eps) over all weight matrices, without biases.

    Between the lasso (eps large: R is about |W| / eps) and the number of weights that are not zero (eps small).
    Candes, Wakin & Boyd 2008.
    """

    def __init__(self, eps: Annotated[float, Field(gt=0)]) -> None:
        self.eps = eps

    def check(self, model: nn.Module) -> None:
        """Raise UsageError where the network does not give its weights."""
        if not isinstance(model, HasWeights):
            raise UsageError(f"it needs the weights, and {type(model).__name__} does not offer them (HasWeights)")

    def penalty(self, model: HasWeights, **own: Tensor) -> Tensor:
        """Return R(W), a scalar."""
        return torch.stack([torch.log1p(weight.abs() / self.eps).sum() for weight in model.weights()]).sum()
