"""What a pruner promises of its network, as run.json has it: how far outputs move at most, rounding included."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from psilon_bench.data.task import Task
from psilon_bench.metrics.exact_network import ExactNetwork, exact_network
from psilon_bench.models.path_change import largest_inputs, path_change

Logits = Float[Tensor, "row output"]


@torch.no_grad()
def promise_of(change: float, trained: Any, pruned: nn.Module, task: Task) -> dict[str, float]:
    """Return `change`, the bound in exact arithmetic of the plain network, and `rounding`: what comes to it at most.

    The outputs of the trained and of the pruned network, as evaluated in their precision, differ by no more than both
    together (L1) where no input is larger than in the training rows, and by c times as much where one is c times as
    large. rounding: of both evaluations, and of the plain weights of the trained network.
    """
    ranges = largest_inputs(task.train.x)
    networks = [exact_network(network, "regression") for network in (trained, trained.plain(), pruned)]
    first, plain, last = ([layer.slopes for layer in network.layers] for network in networks)
    off = sum(evaluation_error(networks[place], ranges) for place in (0, 2))
    assert len(first) == len(last)
    return {"change": change, "rounding": off + path_change(first, plain, ranges).item()}


def evaluation_error(network: ExactNetwork, ranges: Float[Tensor, " input"]) -> float:
    """Return by how much the outputs (L1) are off at most as evaluated, where inputs are no larger than `ranges`."""
    largest, off = ranges, torch.zeros_like(ranges)
    for layer in network.layers:
        errors = layer.errors(largest)
        off = layer.steepest @ off + errors
        largest = layer.slopes.magnitude @ largest + layer.slopes.bias.abs() + errors
    return off.sum().item()


def kept_on(task: Task, before: Logits, after: Logits) -> dict[str, float]:
    """Return how the promise fares on the test rows, of their logits before and after the pruning.

    test_rows_outside: how many rows have an input larger than in any training row, and farthest_test_row how many times
    as large it is at most, at least 1. test_change: the largest change of the outputs (L1) of a row, over that factor.
    """
    times = (task.test.x.flatten(1).abs() / largest_inputs(task.train.x)).amax(dim=1).clamp_min(1)
    changes = (before.cpu().double() - after.cpu().double()).abs().sum(dim=1)
    return {
        "test_rows_outside": int((times > 1).sum()),
        "farthest_test_row": times.max().item(),
        "test_change": (changes / times).max().item(),
    }
