"""The engine: G networks that differ only in values, trained as one tensor program."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.utils._pytree import tree_map


@dataclass(frozen=True)
class Shared:
    """In the place of a vmap dimension, for a tensor with a slice for each of `groups` of neighbours, who share it."""

    groups: int


Dim = int | Shared | None


class Stack:
    """Networks of one architecture with their parameters on a new first axis, the members.

    Everything is written for ONE network: `map` calls a pure function of a network (and tensors) for every member
    under `torch.func.vmap`. A stack of one skips vmap and uses the network as it is. Nothing here reduces over members.
    Networks are in evaluation mode but within `training`, where BatchNorm changes its buffers, those of the stack.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        self.size = len(models)
        self.model = models[0]
        if self.size == 1:
            self.parameters: dict[str, Tensor] = dict(self.model.named_parameters())
            self.buffers: dict[str, Tensor] = dict(self.model.named_buffers())
        else:
            stacked, self.buffers = stack_module_state(list(models))
            self.parameters = {name: nn.Parameter(value.detach()) for name, value in stacked.items()}
            self.model = copy.deepcopy(models[0]).to("meta")
        self.model.eval()

    @contextmanager
    def training(self) -> Iterator[None]:
        """Within, networks are in training mode."""
        self.model.train()
        try:
            yield
        finally:
            self.model.eval()

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All that makes a network what it is: parameters, and the buffers that its state_dict has."""
        kept = self.model.state_dict().keys()
        return {name: value for name, value in (self.parameters | self.buffers).items() if name in kept}

    def map(self, function: Callable[..., Any], *args: Any, in_dims: Sequence[Dim] = ()) -> Any:
        """function(network, *args) for every member; results have the members as first axis.

        in_dims, one for each of args (tensors, or dictionaries of them): 0 where it has a slice per member, None where
        all share it, Shared where groups do.
        """
        if self.size == 1:
            return tree_map(lambda value: value[None], function(self.model, *alone(args, in_dims)))

        bound = _Bound(self.model, function)

        def one(parameters: dict[str, Tensor], *own: Any) -> Any:
            return functional_call(bound, {f"model.{name}": value for name, value in parameters.items()}, own)

        shared = next((dim for dim in in_dims if isinstance(dim, Shared)), None)
        if shared is not None:
            return in_groups(one, shared, (self.parameters | self.buffers, *args), (0, *in_dims))
        return vmap(one, in_dims=(0, *in_dims))(self.parameters | self.buffers, *args)

    @torch.no_grad()
    def change(self, function: Callable[..., None], *args: Any, in_dims: Sequence[int | None] = ()) -> None:
        """function(network, *args) for every member; it changes the parameters in place."""
        if self.size == 1:
            function(self.model, *alone(args, in_dims))
            return

        def one(model: nn.Module, *own: Any) -> Tensor:
            function(model, *own)
            return next(model.parameters()).new_zeros(())  # vmap wants a result

        self.map(one, *args, in_dims=in_dims)

    def state(self, member: int, values: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """The state_dict of one member, on the CPU; of `values` instead of the present tensors where given."""
        values = self.tensors if values is None else values
        return {
            name: (value if self.size == 1 else value[member]).detach().cpu().clone() for name, value in values.items()
        }

    def network(self, member: int) -> nn.Module:
        """One member as a network of its own, on its device."""
        network = copy.deepcopy(self.model)
        own = self.tensors if self.size == 1 else {name: value[member] for name, value in self.tensors.items()}
        network.load_state_dict({name: value.detach().clone() for name, value in own.items()}, assign=True)
        return network

    def snapshot(self) -> dict[str, Tensor]:
        """A copy of all tensors."""
        return {name: value.detach().clone() for name, value in self.tensors.items()}

    @torch.no_grad()
    def copy_members(self, source: Mapping[str, Tensor], target: Mapping[str, Tensor], members: Sequence[int]) -> None:
        """target[member] = source[member], in place, for these members alone."""
        for name, value in source.items() if members else ():
            if len(members) == self.size:
                target[name].copy_(value)
            else:
                target[name][list(members)] = value[list(members)]


def alone(args: Sequence[Any], in_dims: Sequence[Dim]) -> list[Any]:
    """What the only member of a stack has of `args`, tensors or dictionaries of them. Lean: every step calls it."""

    def first(arg: Any) -> Any:
        return {name: value[0] for name, value in arg.items()} if isinstance(arg, dict) else arg[0]

    return [first(arg) if dim == 0 else arg for arg, dim in zip(args, in_dims, strict=True)]


def in_groups(function: Callable[..., Any], shared: Shared, args: Sequence[Any], in_dims: Sequence[Dim]) -> Any:
    """vmap over the members of a group within vmap over the groups: what a group shares is read once, not copied."""

    def grouped(value: Tensor) -> Tensor:
        return value.unflatten(0, (shared.groups, -1))

    table = [tree_map(grouped, arg) if dim == 0 else arg for arg, dim in zip(args, in_dims, strict=True)]
    within = tuple(0 if dim == 0 else None for dim in in_dims)
    across = tuple(None if dim is None else 0 for dim in in_dims)
    result = vmap(vmap(function, in_dims=within), in_dims=across)(*table)
    return tree_map(lambda value: value.flatten(0, 1), result)


class _Bound(nn.Module):
    """A network and a function of it as one module, so that functional_call reaches any of its methods."""

    def __init__(self, model: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.model = model
        self.function = function

    def forward(self, *args: Any) -> Any:
        return self.function(self.model, *args)
