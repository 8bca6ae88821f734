"""The local Lipschitz constant: how steep a network really is at given points, beside what its path norm certifies."""

import torch
from torch import Tensor, nn
from torch.func import jacrev, vmap


def local_lipschitz(model: nn.Module, x: Tensor) -> Tensor:
    """Spectral norm of d logits / d input (L2 to L2, inputs as scaled for the network) at each row of x; (rows,).

    NaN where the Jacobian is not finite: a diverged network must not end the stack it is in.
    """

    def logits(row: Tensor) -> Tensor:
        return model(row[None])[0]

    jacobians = vmap(jacrev(logits))(x).flatten(2)
    finite = jacobians.isfinite().all(dim=(-2, -1))
    norms = torch.linalg.matrix_norm(jacobians.where(finite[:, None, None], 0), ord=2)
    return norms.where(finite, torch.nan)
