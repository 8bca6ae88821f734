"""How steep a network really is at given points, beside what its path norm certifies."""

from collections.abc import Callable

import torch
from torch import Tensor


def jacobians(network: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """d logits / d input (inputs as scaled for the network) at every row of x: (..., rows, outputs, inputs).

    x is (rows, ...) and `network` gives (rows, outputs); both may have the members of a stack in front. No row may
    depend on another. One backward pass per output: torch.func.jacrev would import torch._dynamo, a second.
    """
    x = x.detach().requires_grad_()
    logits = network(x)
    outputs = range(logits.shape[-1])
    gradients = [torch.autograd.grad(logits[..., k].sum(), x, retain_graph=True)[0] for k in outputs]
    rows = logits.dim() - 1
    return torch.stack(gradients, dim=rows).flatten(rows + 1)


def spectral_norm(jacobians: Tensor) -> Tensor:
    """The largest singular value of each, L2 to L2: the local Lipschitz constant of PathProx's figures.

    NaN where a Jacobian is not finite: a diverged network must not end the stack it is in.
    """
    finite = jacobians.isfinite().all(dim=(-2, -1))
    norms = torch.linalg.matrix_norm(jacobians.where(finite[..., None, None], 0), ord=2)
    return norms.where(finite, torch.nan)


def entries_sum(jacobians: Tensor) -> Tensor:
    """sum |J_ij| of each: at least the norm from L_inf to L1 (equal for one output), at most the path norm."""
    return jacobians.abs().sum(dim=(-2, -1))
