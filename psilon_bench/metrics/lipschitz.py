"""The local Lipschitz constant: how steep a network really is at given points, beside what its path norm certifies."""

from collections.abc import Callable

import torch
from torch import Tensor


def local_lipschitz(network: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Spectral norm of d logits / d input (L2 to L2, inputs as scaled for the network) at every row of x.

    x is (rows, ...) and `network` gives (rows, outputs); both may have the members of a stack in front. No row may
    depend on another. One backward pass per output: torch.func.jacrev would import torch._dynamo, a second.
    NaN where the Jacobian is not finite: a diverged network must not end the stack it is in.
    """
    x = x.detach().requires_grad_()
    logits = network(x)
    outputs = range(logits.shape[-1])
    gradients = [torch.autograd.grad(logits[..., k].sum(), x, retain_graph=True)[0] for k in outputs]
    rows = logits.dim() - 1
    jacobians = torch.stack(gradients, dim=rows).flatten(rows + 1)
    finite = jacobians.isfinite().all(dim=(-2, -1))
    norms = torch.linalg.matrix_norm(jacobians.where(finite[..., None, None], 0), ord=2)
    return norms.where(finite, torch.nan)
