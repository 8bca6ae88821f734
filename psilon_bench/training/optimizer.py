"""torch's optimizers without the import of torch._dynamo, which takes a second and serves torch.compile alone."""

import inspect
import types
from collections.abc import Callable

import torch
from torch import Tensor

# shielded from torch.compile by a wrapper that imports torch._dynamo at the first call
SHIELDED = ("add_param_group", "state_dict", "load_state_dict")


def lean(make: Callable[[list[Tensor]], torch.optim.Optimizer], parameters: list[Tensor]) -> torch.optim.Optimizer:
    """The optimizer, its step unwrapped where it is one of torch's own: call it under torch.no_grad()."""
    for name in SHIELDED:
        bare = inspect.unwrap(getattr(torch.optim.Optimizer, name))
        setattr(bare, "__dynamo_disable", bare)
    optimizer = make(parameters)
    if type(optimizer).__module__.startswith("torch.optim."):
        step = inspect.unwrap(type(optimizer).step)
        optimizer.step = types.MethodType(step, optimizer)  # type: ignore[method-assign]
    return optimizer
