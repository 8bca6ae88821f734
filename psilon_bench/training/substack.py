"""The state of some members of a stack, gathered out of the state of all of them."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from psilon_bench.training.stack import cut


def state_of_members(state: dict[str, Any], members: Sequence[int]) -> dict[str, Any]:
    """Return what Trainer.state would return of a stack of these members alone, in this order.

    Tensors of a stack have the members as first axis, those of a single network have no such axis. What an optimizer
    keeps without an axis, such as the number of its steps, is common to all. The time is shared out.
    """
    size = len(state["members"])

    def tensors(values: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: rows_of(value, members, size) for name, value in values.items()}

    def optimizer_values(values: dict[str, Any]) -> dict[str, Any]:
        shared = {name: value for name, value in values.items() if not (isinstance(value, Tensor) and value.dim())}
        return shared | tensors({name: value for name, value in values.items() if name not in shared})

    epoch, step, seconds = state["counters"]
    slots = state["optimizer"]["state"]
    index = list(members)
    return state | {
        **{key: tensors(state[key]) for key in ("tensors", "last", "best")},
        "optimizer": state["optimizer"] | {"state": {slot: optimizer_values(slots[slot]) for slot in slots}},
        "batches": batches_of(state["batches"], members, size),
        "members": [state["members"][member] for member in members],
        "window": [(objectives[index], losses[index]) for objectives, losses in state["window"]],
        "counters": (epoch, step, seconds * len(members) / size),
        "unpruned": [state["unpruned"][member] for member in members] if state["unpruned"] else [],
    }


def as_large_as(like: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """Return the state without what fills up its networks, where none is left that is larger than those of `like`.

    like: the state of a new trainer of the same members. What an optimizer keeps lies in the order of the parameters.
    """
    shapes = {name: value.shape for name, value in like["tensors"].items()}
    of_slot = dict(enumerate(shapes.values()))

    def tensors(values: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: cut(value, shapes[name]) for name, value in values.items()}

    def optimizer_values(slot: int, values: dict[str, Any]) -> dict[str, Any]:
        of_entries = {name for name, value in values.items() if isinstance(value, Tensor) and value.dim()}
        return values | {name: cut(values[name], of_slot[slot]) for name in of_entries}

    slots = {slot: optimizer_values(slot, values) for slot, values in state["optimizer"]["state"].items()}
    kept = {key: tensors(state[key]) for key in ("tensors", "last", "best")}
    return state | kept | {"optimizer": state["optimizer"] | {"state": slots}}


def rows_of(value: Tensor, members: Sequence[int], size: int) -> Tensor:
    """Return what these members have of a tensor of a stack of `size` networks; a single one has no axis of members."""
    if size == 1:
        return value
    return value[members[0]] if len(members) == 1 else value[list(members)]


def batches_of(state: dict[str, Any], members: Sequence[int], size: int) -> dict[str, Any]:
    """Return the state of the batches of these members; their generators stand one after the other, in two rows."""
    generators = state["generators"]
    picked = [generators[row + member] for row in range(0, len(generators), size) for member in members]
    order = None if state["order"] is None else state["order"][list(members)]
    return state | {"order": order, "generators": picked}
