"""The engine: G networks that differ only in values, trained as one tensor program."""

import copy
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import joblib
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F

from psilon_bench.machine.torch_internals import tree_map, tree_map_only


@dataclass(frozen=True)
class Shared:
    """Stands in the place of a vmap dimension for a tensor with a slice for each group of neighbouring members."""

    groups: int


Dim = int | Shared | None


class Stack:
    """Holds networks of one architecture with their parameters on a new first axis, the members.

    Everything is written for ONE network: `map` calls a pure function of a network (and tensors) for every member
    under `torch.func.vmap`. A stack of one skips vmap and uses the network as it is. Nothing here reduces over members.
    Networks are in evaluation mode but within `training`, where BatchNorm changes its buffers, those of the stack.

    Tensors of unequal shapes, those of networks with unequally many inputs, are filled up with zeros behind their
    entries. `map` and `change` call functions of networks that are filled up; `state` and `network` cut that off.

    parameters: those that are trained, by name. buffers: all other tensors, frozen parameters among them. What several
    modules of a network share, tied weights, is one tensor under its first name. ValueError where the networks differ
    in more than tensors, for the attributes of one stand for all, or where none has the largest shapes.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        self.size = len(models)
        self.model = models[0]
        self.forms: list[nn.Module] = []  # of the members, without values, where their shapes differ
        tensors = tensors_of(self.model)
        if self.size > 1:
            check_alike(models)
            every = [tensors_of(model) for model in models]
            tensors = {name: stacked([own[name] for own in every]) for name in tensors}
            keys = [tuple(value.shape for value in own.values()) for own in every]
            different = dict(zip(keys, models, strict=True))
            forms = {key: without_values(model).eval() for key, model in different.items()}
            largest = tuple(value.shape[1:] for value in tensors.values())
            if largest not in forms:
                raise ValueError("of networks with unequal shapes, one must have the largest of all")
            self.model = forms[largest]
            self.forms = [forms[key] for key in keys] if len(forms) > 1 else []
        self.parameters = {name: value for name, value in tensors.items() if value.requires_grad}
        self.buffers = {name: value for name, value in tensors.items() if name not in self.parameters}
        names = {id(value): name for name, value in tensors_of(self.model).items()}
        kept = self.model.state_dict(keep_vars=True).items()
        self.names = {key: names[id(value)] for key, value in kept if id(value) in names}  # of the state_dict's keys
        self.model.eval()

    @property
    def device(self) -> torch.device:
        """Return where the trained parameters are."""
        return next(iter(self.parameters.values())).device

    @property
    def dtype(self) -> torch.dtype:
        """Return the type of the trained parameters."""
        return next(iter(self.parameters.values())).dtype

    @contextmanager
    def training(self) -> Iterator[None]:
        """Put the networks into training mode, within."""
        self.model.train()
        try:
            yield
        finally:
            self.model.eval()

    @property
    def everything(self) -> dict[str, Tensor]:
        """Return all tensors, those too that a state_dict leaves out."""
        return self.parameters | self.buffers

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Return all that makes a network what it is: what its state_dict has."""
        kept = set(self.names.values())
        return {name: value for name, value in self.everything.items() if name in kept}

    def map(self, function: Callable[..., Any], *args: Any, in_dims: Sequence[Dim] = ()) -> Any:
        """Return function(network, *args) of all members; results have the members as first axis.

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
            return in_groups(one, shared, (self.everything, *args), (0, *in_dims))
        return vmap(one, in_dims=(0, *in_dims))(self.everything, *args)

    @torch.no_grad()
    def change(self, function: Callable[..., None], *args: Any, in_dims: Sequence[int | None] = ()) -> None:
        """Call function(network, *args), which changes parameters in place, for all members."""
        if self.size == 1:
            function(self.model, *alone(args, in_dims))
            return

        def one(model: nn.Module, *own: Any) -> Tensor:
            function(model, *own)
            return next(model.parameters()).new_zeros(())  # vmap wants a result

        self.map(one, *args, in_dims=in_dims)

    def state(self, member: int, values: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Return the state_dict of one member, on the CPU; of `values` instead of the present tensors where given."""
        values = self.tensors if values is None else values
        shapes = shapes_of(self.form(member))
        return {key: self.slice(values[name], member, shapes[name]).cpu().clone() for key, name in self.names.items()}

    def parts(self) -> Iterator[tuple[list[int], "Stack"]]:
        """Yield stacks of the members of equal shapes, and their numbers; of a stack that is not filled up itself."""
        if not self.forms:
            yield list(range(self.size)), self
            return
        places: dict[int, list[int]] = {}
        for member, form in enumerate(self.forms):
            places.setdefault(id(form), []).append(member)
        for members in places.values():
            yield members, self.part(members)

    def part(self, members: list[int]) -> "Stack":
        """Return a stack of some members of equal shapes, with copies of their tensors, without what fills them up."""
        if len(members) == 1:
            return Stack([self.network(members[0])])
        part, form = copy.copy(self), self.form(members[0])
        part.size, part.forms, part.model = len(members), [], form
        shapes = shapes_of(form)
        part.parameters, part.buffers = (
            {name: cut(value[members], (len(members), *shapes[name])).detach() for name, value in kind.items()}
            for kind in (self.parameters, self.buffers)
        )
        return part

    def is_filled_with_zeros(self) -> bool:
        """Return whether all entries that fill up members are 0."""
        return all(
            torch.equal(filled_up(cut(value[member], shapes[name]), value.shape[1:]), value[member])
            for member, shapes in enumerate(map(shapes_of, self.forms))
            for name, value in self.everything.items()
        )

    def form(self, member: int) -> nn.Module:
        """Return a network with the shapes of a member, whatever its values."""
        return self.forms[member] if self.forms else self.model

    def slice(self, value: Tensor, member: int, shape: torch.Size) -> Tensor:
        """Return what one member has of a tensor of the stack."""
        return cut(value if self.size == 1 else value[member], shape).detach()

    def network(self, member: int, values: Mapping[str, Tensor] | None = None) -> nn.Module:
        """Return one member as a network apart from the stack, on its device; of `values` where these are given."""
        tensors, form = self.everything | dict(values or {}), self.form(member)
        shapes = shapes_of(form)
        return copy_with(form, {name: self.slice(one, member, shapes[name]).clone() for name, one in tensors.items()})

    def snapshot(self, tensors: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Return copies of the state_dict's tensors, or of those given."""
        return {name: value.detach().clone() for name, value in (tensors or self.tensors).items()}

    @torch.no_grad()
    def copy_members(self, source: Mapping[str, Tensor], target: Mapping[str, Tensor], members: Sequence[int]) -> None:
        """Set target[member] = source[member], in place, for these members alone."""
        for name, value in source.items() if members else ():
            if len(members) == self.size:
                target[name].copy_(value)
            else:
                target[name][list(members)] = value[list(members)]


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers by name; what modules share is there once."""
    return dict(itertools.chain(model.named_parameters(), model.named_buffers()))


def shapes_of(model: nn.Module) -> dict[str, torch.Size]:
    """Return the shapes of parameters and buffers by name."""
    return {name: value.shape for name, value in tensors_of(model).items()}


def without_values(model: nn.Module) -> nn.Module:
    """Return a copy of the network whose parameters and buffers have shapes alone."""
    return copy_with(model, {name: value.to("meta") for name, value in tensors_of(model).items()})


def stacked(values: Sequence[Tensor]) -> Tensor:
    """Return tensors as one, filled up to the largest shape, and as a parameter where they require gradients."""
    shape = [max(sizes) for sizes in zip(*(value.shape for value in values), strict=True)]
    together = torch.stack([filled_up(value.detach(), shape) for value in values])
    return nn.Parameter(together) if values[0].requires_grad else together


def filled_up(value: Tensor, shape: Sequence[int]) -> Tensor:
    """Return a tensor of this shape: the value, and zeros behind it."""
    behind = [(0, size - own) for own, size in zip(value.shape, shape, strict=True)]
    return F.pad(value, [*itertools.chain(*reversed(behind))]) if list(value.shape) != list(shape) else value


def cut(value: Tensor, shape: Sequence[int]) -> Tensor:
    """Return a tensor of this shape: the first entries of the value, as fused optimizers want them, without gaps."""
    return value[tuple(map(slice, shape))].contiguous()


def copy_with(model: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Return a copy of the network with these tensors in place of its own; what its modules share stays shared."""
    memo: dict[int, Any] = {}
    for name, own in tensors_of(model).items():
        value = tensors[name]
        memo[id(own)] = nn.Parameter(value.detach(), own.requires_grad) if isinstance(own, nn.Parameter) else value
    return copy.deepcopy(model, memo)


def check_alike(models: Sequence[nn.Module]) -> None:
    """Raise ValueError unless the networks have equal attributes: numbers, functions, tensors that are no buffers."""
    first, *others = map(attributes, models)
    if any(other != first for other in others):
        raise ValueError(
            f"networks of a stack must differ in parameters and buffers alone, and these {type(models[0]).__name__} "
            "have unequal attributes (make of what differs a buffer)"
        )


def attributes(model: nn.Module) -> str:
    """Return a hash of what a network consists of beside parameters, buffers and hooks.

    How many inputs a layer has stands in the shape of its weights.
    """
    left_out = {*vars(nn.Module()), "in_features"}
    every = [
        (name, type(module).__qualname__, {key: value for key, value in vars(module).items() if key not in left_out})
        for name, module in model.named_modules()
    ]
    return joblib.hash(tree_map_only(Tensor, lambda value: value.detach().cpu().numpy(), every))


def alone(args: Sequence[Any], in_dims: Sequence[Dim]) -> list[Any]:
    """Return what the only member of a stack has of `args`, tensors or dictionaries of them; each step calls it."""

    def first(arg: Any) -> Any:
        return {name: value[0] for name, value in arg.items()} if isinstance(arg, dict) else arg[0]

    return [first(arg) if dim == 0 else arg for arg, dim in zip(args, in_dims, strict=True)]


def in_groups(function: Callable[..., Any], shared: Shared, args: Sequence[Any], in_dims: Sequence[Dim]) -> Any:
    """Map over the members of a group within a map over the groups: what a group shares is read once, not copied."""

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
