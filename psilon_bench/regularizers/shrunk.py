"""Which parameters a prox or a shrink changes: the weights, and what else the user asks for."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from psilon_bench.machine.torch_internals import NormLayer
from psilon_bench.models.offers import HasWeightNorm

Group = Literal["biases", "gains", "norms"]
NORMS = (NormLayer, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def group_of(module: nn.Module, name: str, parameter: Float[Tensor, "..."]) -> Group | None:
    """Return the group of a parameter that the module itself holds under this name; None for a weight.

    `norms` are all parameters of normalisation layers, `biases` those called bias, and `gains` all others with fewer
    than two dimensions, such as the lengths of weight normalisation.
    """
    if isinstance(module, NORMS):
        return "norms"
    if name == "bias":
        return "biases"
    return "gains" if parameter.dim() < 2 else None


def shrunk(model: nn.Module, exclude: list[Group]) -> dict[str, Float[Tensor, "..."]]:
    """Return the parameters by name, without those of the groups in `exclude`."""
    return {
        f"{place}.{name}": parameter
        for place, module in model.named_modules()
        for name, parameter in module.named_parameters(recurse=False)
        if group_of(module, name, parameter) not in exclude
    }


def clause_against(model: nn.Module, exclude: list[Group]) -> str | None:
    """Return a clause that says why the sizes of a network's weights cannot be shrunk; None where they can."""
    if isinstance(model, HasWeightNorm) and model.q is not None:
        return (
            "it shrinks single weights, and the directions of a weight-normalised network have no size: "
            "any factor leaves its function as it is"
        )
    if not shrunk(model, exclude):
        return f"{type(model).__name__} has no weights of two or more dimensions (see reg.exclude)"
    return None
