"""Sparsity: how many weights are exactly zero, and how concentrated the others are.

Sparsity is always the fraction of ZEROS. Biases are never counted.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

NEGLIGIBLE = 1e-13  # weights up to this size count as zeros in Outmezguine & Levi 2024
Weight = Float[Tensor, "_unit _fan_in *_kernel"]


def near_sparsity(vectors: Float[Tensor, "row entry"]) -> Float[Tensor, " row"]:
    r"""Return 1 - exp(H(p)) / d of each row v in R^d, with p = |v| / ||v||_1 and H the entropy in nats (Biswas 2024).

    exp(H) counts the entries that matter: a uniform row has near-sparsity 0, a one-hot row 1 - 1/d, and a row of zeros,
    by convention, 1.
    """
    size = vectors.abs()
    total = size.sum(dim=-1, keepdim=True)
    p = size / total.clamp_min(torch.finfo(size.dtype).tiny)
    effective = torch.special.entr(p).sum(dim=-1).exp() * (total.squeeze(-1) > 0)
    return 1 - effective / vectors.shape[-1]


def weight_vectors_near_sparsity(weights: list[Weight]) -> Float[Tensor, ""]:
    """Return the mean near-sparsity over all weight vectors of a network, which are the rows of all its layers."""
    return torch.cat([near_sparsity(weight.flatten(1)) for weight in weights]).mean()


def num_nonzero(weights: list[Weight]) -> Int[Tensor, ""]:
    """Return the number of weights that are not exactly zero."""
    return torch.stack([(weight != 0).sum() for weight in weights]).sum()


def weight_sparsity(weights: list[Weight]) -> Float[Tensor, ""]:
    """Return the fraction of weights that are exactly zero."""
    return 1 - num_nonzero(weights) / sum(weight.numel() for weight in weights)


def negligible(weights: list[Weight]) -> Float[Tensor, ""]:
    """Return the fraction of weights of size at most 1e-13: p-norm decay brings weights there first, then to 0."""
    return torch.stack([(weight.abs() <= NEGLIGIBLE).sum() for weight in weights]).sum() / sum(
        weight.numel() for weight in weights
    )
