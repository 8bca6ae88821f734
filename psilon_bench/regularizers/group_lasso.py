"""The group lasso over units or inputs, as a penalty that plain gradients follow."""

import copy
from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from psilon_bench.errors import UsageError
from psilon_bench.models.offers import HasWeights
from psilon_bench.models.units import pairs_of
from psilon_bench.regularizers.gates import grouped_sums, members_of, root
from psilon_bench.regularizers.regularizer import Regularizer

Groups = Literal["units", "inputs"]


class GroupLasso(Regularizer):
    r"""The penalty sum_g ||W_g||_2 over `groups` of weights, without biases.

    units: the rows of all layers but the last, and the columns of the last. A row holds the incoming weights of a unit
    (in a convolution, of a channel), a column of the last layer the outgoing weights. inputs: the columns of the first
    layer, together where inputs are made of one column of the table: the levels of a category, a number with the
    indicator of what is missing, a date with its cycles; the other layers have 1/2 sum w^2, without which rescaling
    units would make the penalty as small as one likes. The gradient makes groups small but never exactly zero, which
    takes a prox. Yuan & Lin 2006, without factors for the sizes of groups; Yang et al. 2022 compare PathProx with it.
    """

    def __init__(self, groups: Groups) -> None:
        self.groups = groups

    def check(self, model: nn.Module) -> None:
        """Raise a UsageError where the network does not offer plain layers in the order of application."""
        check_groups(model, self.groups)

    @override
    def trained_form(self, model: nn.Module, columns: Sequence[str]) -> nn.Module:
        """Return the network, with the groups of its inputs in a buffer where these are penalised."""
        if self.groups == "units":
            return model
        network, device = copy.deepcopy(model), next(model.parameters()).device
        network.register_buffer("input_groups", members_of(columns).to(device), persistent=False)
        return network

    @override
    def penalty(self, model: Any, **own: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """Return the sum of the norms of all groups."""
        *weights, last = model.weights()
        if self.groups == "inputs":
            of_inputs = root(grouped_sums(weights[0].square().sum(dim=0), model.input_groups))
            return of_inputs.sum() + half_squares_behind_first(model)
        groups = [weight.flatten(1) for weight in weights] + [last.flatten(1).T]
        return torch.cat([torch.linalg.vector_norm(group, dim=1) for group in groups]).sum()


def half_squares_behind_first(model: HasWeights) -> Float[Tensor, ""]:
    """Return 1/2 sum w^2 over the weights of all layers but the first."""
    return torch.stack([weight.square().sum() for weight in model.weights()[1:]]).sum() / 2


def check_groups(model: nn.Module, groups: Groups) -> None:
    """Raise a UsageError where the network does not offer plain layers in the order of application, or no columns."""
    if not isinstance(model, HasWeights) or not pairs_of(model):
        raise UsageError(f"it needs plain layers one after the other, and this {type(model).__name__} has none")
    if groups == "inputs" and model.weights()[0].dim() != 2:
        raise UsageError(
            f"reg.groups=inputs needs a first layer that reads columns, and that of {type(model).__name__} is a "
            "convolution (set reg.groups=units)"
        )
