"""What regularizers of homogeneous units have in common."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from psilon_bench.errors import UsageError
from psilon_bench.models.offers import HasUnits, Pair
from psilon_bench.models.units import incoming_norms, scale_incoming
from psilon_bench.regularizers.regularizer import Regularizer


class UnitRegularizer(Regularizer):
    r"""Stands for F_pn = loss + lam sum_k ||w_k|| ||v_k|| + lam/2 sum of squares of the layers in no pair.

    Never above the weight decay objective F_wd = loss + lam/2 sum of all squares, and equal to it where every unit has
    ||w_k|| = ||v_k||, which rescaling brings about: both have the same minimum. No bias is regularised. Yang et al.
    2022, arXiv 2210.03069.
    """

    weight_decay = 1.0

    def check(self, model: nn.Module) -> None:
        """UsageError where there are no pairs of layers, or the units between them are not homogeneous."""
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
        """Which layers have weight decay alone."""
        unpaired = {id(layer) for layer in model.unpaired()}
        names = [f"{name} {layer}" for name, layer in model.named_modules() if id(layer) in unpaired]
        return [f"in no pair of layers, so with weight decay alone: {', '.join(names)}"] if names else []


def to_unit_norm(pair: Pair) -> tuple[Tensor, Tensor]:
    """w_k <- w_k / ||w_k|| in place, biases kept; the norms before and the factors, (units,) each."""
    norms = incoming_norms(pair)
    factors = 1 / or_one(norms)
    scale_incoming(pair, factors)
    return norms, factors


def or_one(norms: Tensor) -> Tensor:
    """The norms to divide by, 1 in place of those that are about 0: a dead unit stays as it is."""
    return F.threshold(norms, torch.finfo(norms.dtype).tiny ** 0.5, 1.0)
