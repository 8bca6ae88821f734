"""What of torch is used that torch does not promise to keep, all in this file; a test fails when any of it changes."""

import copy
import inspect
import types
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase as NormLayer  # the only base of all BatchNorm and InstanceNorm layers
from torch.utils._pytree import tree_map, tree_map_only  # what torch.func itself goes through containers with

__all__ = ["NormLayer", "lean", "mark_stepped", "trace_gradients", "tree_map", "tree_map_only", "with_modules"]

M = TypeVar("M", bound=nn.Module)

# shielded from torch.compile by a wrapper that imports torch._dynamo at the first call (torch/_compile.py)
SHIELDED = ("add_param_group", "state_dict", "load_state_dict")


def lean(make: Callable[[list[Tensor]], torch.optim.Optimizer], parameters: list[Tensor]) -> torch.optim.Optimizer:
    """Return the optimizer without wrappers around its methods, which import torch._dynamo: a second.

    The step of one of torch's own is unwrapped, too (hooks of steps are not called): call it under torch.no_grad().
    """
    for name in SHIELDED:
        bare = inspect.unwrap(getattr(torch.optim.Optimizer, name))
        setattr(bare, "__dynamo_disable", bare)
    optimizer = make(parameters)
    if type(optimizer).__module__.startswith("torch.optim."):
        step = inspect.unwrap(type(optimizer).step)
        optimizer.step = types.MethodType(step, optimizer)  # type: ignore[method-assign]
    return optimizer


def mark_stepped(optimizer: torch.optim.Optimizer) -> None:
    """Say that an optimizer whose state was loaded has taken steps; a scheduler that goes on first warns otherwise.

    torch.optim.lr_scheduler.LRScheduler.step reads the attribute.
    """
    optimizer._opt_called = True  # type: ignore[attr-defined]


def trace_gradients() -> None:
    """Let torch.compile trace torch.autograd.grad; else forward and backward are two programs, a sixth slower."""
    torch._dynamo.config.trace_autograd_ops = True


def with_modules(module: M, children: dict[str, nn.Module]) -> M:
    """Return a shallow copy of a module that has these children in place of its own.

    copy.copy shares the dictionaries of children and buffers, torch.nn.Module._modules and _buffers, which are
    replaced.
    """
    other = copy.copy(module)
    other._modules, other._buffers = dict(children), dict(module._buffers)
    return other
