"""D-Gating: groups of weights are products with gates of their own, a differentiable penalty of whole groups."""

import copy
from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from psilon_bench.regularizers.factorized import Factorized, Factors, Threshold, weights_of
from psilon_bench.regularizers.gates import Grouping, gate, members_of
from psilon_bench.regularizers.group_lasso import Groups, check_groups, half_squares_behind_first


class Gated(Factorized):
    r"""The penalty lam sum_g ||w_g||_2^(2/D) over groups of weights, as L2 decay of factors and gates (see `gates`).

    D = `factors`, one of which has a number for each weight and the others one for each group; D = 2 is the group
    lasso, whose `groups` these are; with groups of inputs the other layers have 1/2 sum w^2, as there. Groups come
    close to 0 and never reach it: in the network that is tested, saved and pruned, those of a 2-norm up to `threshold`
    are 0. Kolb et al., NeurIPS 2025.
    """

    def __init__(self, groups: Groups, factors: Factors, threshold: Threshold) -> None:
        super().__init__(factors, threshold)
        self.groups = groups

    @override
    def check(self, model: nn.Module) -> None:
        """Raise a UsageError where the network has no plain layers in the order of application, or ties weights."""
        super().check(model)
        check_groups(model, self.groups)

    @override
    def trained_form(self, model: nn.Module, columns: Sequence[str]) -> nn.Module:
        """Return a copy of the network with gates in the place of the weights that are in groups."""
        network: Any = copy.deepcopy(model)
        places = {id(getattr(module, name)): (module, name) for module, name in weights_of(network)}
        groupings: list[Grouping] = ["inputs"]
        weights = network.weights()
        if self.groups == "units":
            groupings = [*["rows"] * (len(weights) - 1), "columns"]  # type: ignore[list-item]
        for weight, grouping in zip(weights, groupings, strict=False):
            gate(*places[id(weight)], self.factors, grouping, members_of(columns))
        return network

    @override
    def penalty(self, model: Any, **own: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """Return the sum of the squares of all factors and gates, over D, and that of the layers without gates."""
        return super().penalty(model) + (half_squares_behind_first(model) if self.groups == "inputs" else 0)
