"""The common part of regularizers that act on homogeneous units."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from psilon_bench.errors import UsageError
from psilon_bench.models.offers import HasUnits, Pair
from psilon_bench.models.units import incoming_norms, scale_incoming
from psilon_bench.regularizers.regularizer import Regularizer


class UnitRegularizer(Regularizer):
    r"""A regularizer with the objective F_pn = loss + lam sum_k ||w_k|| ||v_k|| + lam/2 sum w^2 over unpaired layers.

    Norms are 2-norms, and no bias is regularised. F_pn is never above the weight decay objective
    F_wd = loss + lam/2 sum w^2 over all layers, and equal to it where every unit has ||w_k|| = ||v_k||. Rescaling
    brings that about, so both have the same minimum. Yang et al. 2022, arXiv 2210.03069.
    """

    weight_decay = 1.0

    def check(self, model: nn.Module) -> None:
        """Raise a UsageError where there are no pairs of layers, or the units between them are not homogeneous."""
        if not isinstance(model, HasUnits) or not model.units():
            raise UsageError(
                f"it needs pairs of plain layers with units between them, and this {type(model).__name__} has none "
                f"(take model=mlp, mlp_factorized or vgg_tiny)"
            )
        if not model.homogeneous:
            raise UsageError(
                "units can be rescaled only behind a homogeneous activation, and the model's is not one "
                "(take model.activation=relu or leaky_relu)"
            )

    def notes(self, model: Any) -> list[str]:
        """Return a sentence that names the layers in no pair, if there are any."""
        unpaired = {id(layer) for layer in model.unpaired()}
        names = [f"{name} {layer}" for name, layer in model.named_modules() if id(layer) in unpaired]
        return [f"in no pair of layers, so with weight decay alone: {', '.join(names)}"] if names else []


def to_unit_norm(pair: Pair) -> tuple[Float[Tensor, " unit"], Float[Tensor, " unit"]]:
    """Divide w_k by its 2-norm in place, biases kept, and return the norms before that and the factors."""
    norms = incoming_norms(pair)
    factors = 1 / or_one(norms)
    scale_incoming(pair, factors)
    return norms, factors


def or_one(norms: Float[Tensor, " unit"]) -> Float[Tensor, " unit"]:
    """Return norms to divide by, with 1 in the place of those that are about 0: a dead unit stays as it is."""
    return F.threshold(norms, torch.finfo(norms.dtype).tiny ** 0.5, 1.0)
