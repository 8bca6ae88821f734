"""Deep weight factorisation: every weight is a product of factors under L2 decay, a differentiable L_p penalty."""

import copy
from collections.abc import Sequence
from typing import Annotated, Any

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from psilon_bench.errors import UsageError
from psilon_bench.regularizers.gates import collapsed, decay, gate, members_of
from psilon_bench.regularizers.regularizer import Regularizer
from psilon_bench.regularizers.shrunk import clause_against, group_of

Factors = Annotated[int, Field(ge=2, le=64)]
Threshold = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Factorized(Regularizer):
    r"""The penalty lam sum |w|^(2/D) over all weights, as L2 decay of the D = `factors` factors of each (see `gates`).

    Factors are trained in the place of weights; D = 2 is the lasso, D = 4 an L_1/2 penalty. Biases, gains and
    normalisation layers have none. Weights come close to 0 and never reach it: in the network that is tested, saved and
    pruned, those of size up to `threshold` are 0. Kolb et al., ICLR 2025, arXiv 2502.02496.
    """

    def __init__(self, factors: Factors, threshold: Threshold) -> None:
        self.factors, self.threshold = factors, threshold

    def check(self, model: nn.Module) -> None:
        """Raise a UsageError where the sizes of single weights mean nothing, or where there are none in layers."""
        if clause := clause_against(model, ["biases", "gains", "norms"]) or clause_of_places(model):
            raise UsageError(clause)

    @override
    def trained_form(self, model: nn.Module, columns: Sequence[str]) -> nn.Module:
        """Return a copy of the network with factors in the place of its weights."""
        network = copy.deepcopy(model)
        for module, name in weights_of(network):
            gate(module, name, self.factors, "entries", members_of(columns))
        return network

    @override
    def saved_form(self, network: nn.Module, model: nn.Module) -> nn.Module:
        """Return the network of the products."""
        return collapsed(network, model, self.threshold)

    @override
    def penalty(self, model: Any, **own: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """Return the sum of the squares of all factors, over D."""
        return decay(model)


def weights_of(model: nn.Module) -> list[tuple[nn.Module, str]]:
    """Return the modules with the names of their weights."""
    return [
        (module, name)
        for module in model.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if group_of(module, name, parameter) is None
    ]


def clause_of_places(model: nn.Module) -> str | None:
    """Return a clause where factors would untie weights, or make the network itself another class; else None."""
    weights = [id(getattr(module, name)) for module, name in weights_of(model)]
    if len({*weights}) < len(weights):
        return f"it would untie the weights that {type(model).__name__} shares"
    if any(module is model for module, _ in weights_of(model)):
        return f"it factorises the weights of layers, and {type(model).__name__} holds weights itself"
    return None
