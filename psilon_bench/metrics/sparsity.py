"""Sparsity: how many weights are exactly zero, and how concentrated the rest are. Sparse always means zeros."""

import torch
from torch import Tensor

NEGLIGIBLE = 1e-13  # as Outmezguine & Levi 2024 count


def near_sparsity(vectors: Tensor) -> Tensor:
    r"""1 - exp(H(p)) / d of each row v in R^d, with p = |v| / ||v||_1 and H the entropy in nats; shape (rows,).

    exp(H) counts the entries that matter: a uniform row has 0, a one-hot row 1 - 1/d, a zero row by convention 1.
    Biswas 2024.
    """
    size = vectors.abs()
    total = size.sum(dim=-1, keepdim=True)
    p = size / total.clamp_min(torch.finfo(size.dtype).tiny)
    effective = torch.special.entr(p).sum(dim=-1).exp() * (total.squeeze(-1) > 0)
    return 1 - effective / vectors.shape[-1]


def weight_vectors_near_sparsity(weights: list[Tensor]) -> Tensor:
    """Mean near-sparsity over all weight vectors (the rows of all layers) of a network, a scalar."""
    return torch.cat([near_sparsity(weight.flatten(1)) for weight in weights]).mean()


def num_nonzero(weights: list[Tensor]) -> Tensor:
    """Weights that are not exactly zero, biases excluded."""
    return torch.stack([(weight != 0).sum() for weight in weights]).sum()


def weight_sparsity(weights: list[Tensor]) -> Tensor:
    """Fraction of exact zeros among the weights, biases excluded."""
    return 1 - num_nonzero(weights) / sum(weight.numel() for weight in weights)


def negligible(weights: list[Tensor]) -> Tensor:
    """Fraction of the weights of size at most 1e-13, biases excluded: p-norm decay brings them there, then to 0."""
    return torch.stack([(weight.abs() <= NEGLIGIBLE).sum() for weight in weights]).sum() / sum(
        weight.numel() for weight in weights
    )
