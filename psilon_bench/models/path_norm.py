"""The 1-path-norm of a feed-forward network as the explicit product, for any weights."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def path_norm(weights: Iterable[Tensor]) -> Tensor:
    r"""P = 1^T |W_K| ... |W_1| 1, the sum over all paths of the product of absolute weights; a scalar.

    weights: W_1 (hidden, in) ... W_K (outputs, hidden), rows as outputs, biases excluded. For activations with
    slope at most 1, |f(x) - f(y)|_1 <= P |x - y|_inf (Biswas 2024; Neyshabur et al. 2015). Works from the input
    side: K matrix-vector products.
    """
    weights = list(weights)
    paths = torch.ones_like(weights[0][0])
    for weight in weights:
        paths = weight.abs() @ paths
    return paths.sum()


def input_path_norms(weights: Sequence[Tensor]) -> Tensor:
    """1^T |W_K| ... |W_1|, the part of the path norm that starts at each input; shape (in,). 0 where it is not read."""
    paths = torch.ones_like(weights[-1][:, 0])
    for weight in reversed(weights):
        paths = paths @ weight.abs()
    return paths
