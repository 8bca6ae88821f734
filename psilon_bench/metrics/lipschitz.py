"""How steep a network is at given points, to compare with what its path norm certifies."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def jacobians(
    network: Callable[[Tensor], Tensor], x: Float[Tensor, "..."]
) -> Float[Tensor, "*member batch output input"]:
    """Return d logits / d input at every row of x, for inputs as scaled for the network.

    x is (batch, ...) and the network gives (batch, output); both may have the members of a stack in front. No row may
    depend on another. It takes a backward pass for each output: torch.func.jacrev would import torch._dynamo, which
    takes a second.
    """
    x = x.detach().requires_grad_()
    logits = network(x)
    outputs = range(logits.shape[-1])
    gradients = [torch.autograd.grad(logits[..., k].sum(), x, retain_graph=True)[0] for k in outputs]
    rows = logits.dim() - 1
    return torch.stack(gradients, dim=rows).flatten(rows + 1)


def spectral_norm(jacobians: Float[Tensor, "*batch output input"]) -> Float[Tensor, "*batch"]:
    """Return the largest singular value of each Jacobian, which is the local Lipschitz constant from L2 to L2.

    Yang et al. 2022 show it. It is NaN where a Jacobian is not finite: a diverged network must not end its stack.
    """
    finite = jacobians.isfinite().all(dim=(-2, -1))
    norms = torch.linalg.matrix_norm(jacobians.where(finite[..., None, None], 0), ord=2)
    return norms.where(finite, torch.nan)


def entries_sum(jacobians: Float[Tensor, "*batch output input"]) -> Float[Tensor, "*batch"]:
    """Return sum |J_ij| of each Jacobian.

    It is at least the norm of J from L_inf to L1 (equal to it for one output) and at most the path norm.
    """
    return jacobians.abs().sum(dim=(-2, -1))
