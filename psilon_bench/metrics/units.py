"""How many units of a network are in use, and the objectives of weight decay."""

from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from psilon_bench.models.units import all_layers, half_squares, unit_sizes


def unit_measures(model: Any, threshold: float) -> dict[str, Shaped[Tensor, ""]]:
    """Return counts and sums of the units by their size ||w_k||_2 ||v_k||_2, which is 0 where all their paths are 0.

    unit_path_norm   sum of the sizes
    unit_sparsity    fraction of units of size <= threshold; it is stable, while the exact zeros of a prox come and go
    units/zero       number of units of size exactly 0
    units/active/1   number of units above the threshold in the first pair of layers, units/active/2 in the second
    """
    sizes = unit_sizes(model)
    every = torch.cat(sizes)
    active = {f"units/active/{g}": (own > threshold).sum() for g, own in enumerate(sizes, start=1)}
    return {
        "unit_path_norm": every.sum(),
        "unit_sparsity": (every <= threshold).to(every.dtype).mean(),
        "units/zero": (every == 0).sum(),
    } | active


def weight_decay_objectives(
    model: Any, loss: Float[Tensor, ""], lam: Float[Tensor, ""]
) -> dict[str, Float[Tensor, ""]]:
    r"""Return the two objectives of weight decay, F_pn and F_wd; biases are excluded (Yang et al. 2022).

    wd_objective      F_pn = loss + lam sum_k ||w_k||_2 ||v_k||_2 + lam/2 sum w^2 over the layers in no pair: that of
                      weight decay once every unit is balanced, ||w_k|| = ||v_k||; methods are compared by it
    wd_objective_raw  F_wd = loss + lam/2 sum w^2 over all weights as they are; it is never below F_pn
    """
    sizes = torch.cat(unit_sizes(model)).sum()
    return {
        "wd_objective": loss + lam * (sizes + half_squares(model.unpaired())),
        "wd_objective_raw": loss + lam * half_squares(all_layers(model)),
    }
