"""The engine: G networks that differ only in values, trained as one tensor program."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.utils._pytree import tree_map


class Stack:
    """Networks of one architecture with their parameters on a new first axis, the members.

    Everything is written for ONE network: `map` calls a pure function of a network (and tensors) for every member
    under `torch.func.vmap`. A stack of one skips vmap and uses the network as it is. Nothing here reduces over members.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        self.size = len(models)
        self.model = models[0]
        if self.size == 1:
            self.parameters: dict[str, Tensor] = dict(self.model.named_parameters())
        else:
            stacked, buffers = stack_module_state(list(models))
            assert not buffers, "a network with buffers says stackable = False"
            self.parameters = {name: nn.Parameter(value.detach()) for name, value in stacked.items()}
            self.model = copy.deepcopy(models[0]).to("meta")

    def map(self, function: Callable[..., Any], *args: Any, in_dims: Sequence[int | None] = ()) -> Any:
        """function(network, *args) for every member; results have the members as first axis.

        in_dims, one for each of args (tensors, or dictionaries of them): 0 where it has a slice per member, None where
        all share it.
        """
        if self.size == 1:
            own = [
                tree_map(lambda value: value[0], arg) if dim == 0 else arg
                for arg, dim in zip(args, in_dims, strict=True)
            ]
            return tree_map(lambda value: value[None], function(self.model, *own))

        bound = _Bound(self.model, function)

        def one(parameters: dict[str, Tensor], *own: Any) -> Any:
            return functional_call(bound, {f"model.{name}": value for name, value in parameters.items()}, own)

        return vmap(one, in_dims=(0, *in_dims))(self.parameters, *args)

    @torch.no_grad()
    def change(self, function: Callable[..., None], *args: Any, in_dims: Sequence[int | None] = ()) -> None:
        """function(network, *args) for every member; it changes the parameters in place."""

        def one(model: nn.Module, *own: Any) -> Tensor:
            function(model, *own)
            return next(model.parameters()).new_zeros(())  # vmap wants a result

        self.map(one, *args, in_dims=in_dims)

    def state(self, member: int, values: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """The state_dict of one member, on the CPU; of `values` instead of the present parameters where given."""
        values = self.parameters if values is None else values
        return {
            name: (value if self.size == 1 else value[member]).detach().cpu().clone() for name, value in values.items()
        }

    def snapshot(self) -> dict[str, Tensor]:
        """A copy of all parameters."""
        return {name: value.detach().clone() for name, value in self.parameters.items()}

    @torch.no_grad()
    def copy_members(self, source: Mapping[str, Tensor], target: Mapping[str, Tensor], members: Sequence[int]) -> None:
        """target[member] = source[member], in place, for these members alone."""
        for name, value in source.items():
            if len(members) == self.size:
                target[name].copy_(value)
            else:
                target[name][list(members)] = value[list(members)]


class _Bound(nn.Module):
    """A network and a function of it as one module, so that functional_call reaches any of its methods."""

    def __init__(self, model: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.model = model
        self.function = function

    def forward(self, *args: Any) -> Any:
        return self.function(self.model, *args)
