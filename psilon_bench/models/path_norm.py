"""The 1-path-norm of a feed-forward network as an explicit product, for any weights."""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

Matrix = Float[Tensor, "_unit _fan_in"]


def path_norm(weights: Iterable[Matrix]) -> Float[Tensor, ""]:
    r"""Return P = 1^T |W_K| ... |W_1| 1, the sum over all paths of the product of absolute weights.

    The weights are W_1 (hidden, input) ... W_K (output, hidden), without biases. For activations of slope at most 1,
    |f(x) - f(y)|_1 <= P |x - y|_inf (Biswas 2024; Neyshabur et al. 2015). The product starts at the inputs and costs K
    matrix-vector products.
    """
    weights = list(weights)
    paths = torch.ones_like(weights[0][0])
    for weight in weights:
        paths = weight.abs() @ paths
    return paths.sum()


def input_path_norms(weights: Sequence[Matrix]) -> Float[Tensor, " input"]:
    """Return 1^T |W_K| ... |W_1|, the part of the path norm that starts at each input; 0 where it is not read."""
    paths = torch.ones_like(weights[-1][:, 0])
    for weight in reversed(weights):
        paths = paths @ weight.abs()
    return paths
