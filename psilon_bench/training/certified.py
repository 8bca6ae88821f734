"""Certificates of a finished network: in float64 on the CPU, whatever it was trained in and on."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from psilon_bench.config.schema import MetricsSection
from psilon_bench.data.task import Task
from psilon_bench.metrics.certificate import certified_accuracies
from psilon_bench.metrics.crown import Box
from psilon_bench.metrics.exact_network import ExactNetwork, exact_network
from psilon_bench.metrics.intervals import TargetScale, interval_scores, scores_of
from psilon_bench.metrics.robustness import robust_accuracies
from psilon_bench.metrics.stacked_networks import members_at_once
from psilon_bench.models.offers import HasInputBounds, HasLipschitzBound, HasSlopes
from psilon_bench.training.engine import Row


@dataclass(frozen=True)
class Certified:
    """A finished network with its bounds in float64, where it has any, and what is certified of its test rows."""

    network: Any
    input_bounds: Tensor | None  # (inputs,)
    scores: Row


def certified_networks(
    networks: Iterable[Any], tasks: Sequence[Task], metrics: MetricsSection, logits: Iterable[Tensor | None]
) -> Iterator[Certified]:
    """Yield these networks of a stack, with what is certified of each; see `certified_together`.

    They are taken from `networks` when they are needed: small ones are attacked together, with neighbours of as many
    inputs.
    """
    members = zip(networks, tasks, logits, strict=True)
    for _, neighbours in itertools.groupby(task.test.x.shape for task in tasks):
        alike = itertools.islice(members, len(list(neighbours)))
        for first in alike:
            at_once = members_at_once(first[0], len(first[1].test), metrics.radii)
            yield from certified_together([first, *itertools.islice(alike, at_once - 1)], metrics)


def certified_together(
    members: Sequence[tuple[Any, Task, Tensor | None]], metrics: MetricsSection
) -> Iterator[Certified]:
    """Yield these networks with what is certified of the test rows at metrics.radii, and what an attack leaves of that.

    Members are a network, its task and its logits (rows, outputs) on the test rows; the networks are of one shape. Of
    classes the scores are accuracies, of a regression intervals and errors; without a Lipschitz bound there are none.
    A network that offers a bound alone, and no slopes, is certified by it, and not attacked.
    """
    models, tasks, logits = zip(*members, strict=True)
    has_slopes = isinstance(models[0], HasSlopes)
    nets = [exact_network(model, "regression") for model in models] if has_slopes else []
    found: list[dict[str, Tensor]] = [{} for _ in models]
    if tasks[0].kind != "recovery" and isinstance(models[0], HasLipschitzBound) and len(tasks[0].test):
        by_bound = zip(models, tasks, logits, strict=True)
        found = of_slopes(nets, tasks, metrics) if nets else [of_bound(*one, metrics) for one in by_bound]
    for place, (model, scores) in enumerate(zip(models, found, strict=True)):
        bounds = None
        if isinstance(model, HasSlopes | HasInputBounds):
            bounds = nets[place].input_bounds() if has_slopes else upper_input_bounds(model)
        yield Certified(model, bounds, {f"test/{name}": value.item() for name, value in scores.items()})


def of_slopes(nets: Sequence[ExactNetwork], tasks: Sequence[Task], metrics: MetricsSection) -> list[dict[str, Tensor]]:
    """Return what the layers of each network, whose outputs are those of the network as it is, certify."""
    kind, tests = tasks[0].kind, [task.test for task in tasks]
    # the inputs that the networks are given
    x = torch.stack([test.x.flatten(1).to(nets[0].evaluated_in).double() for test in tests])
    how, shares = (metrics.radii, metrics.certificate, metrics.attack_steps), [test.shares for test in tests]
    if kind == "regression":
        y = torch.stack([test.y.double() for test in tests])
        return interval_scores(nets, x, y, *how, [target_scale(task) for task in tasks], shares)
    y = torch.stack([test.y.flatten().long() for test in tests])
    return robust_accuracies([net.with_classes(kind) for net in nets], x, y, *how, shares, metrics.exact_seconds)


@torch.no_grad()
def of_bound(model: Any, task: Task, logits: Tensor, metrics: MetricsSection) -> dict[str, Tensor]:
    """Return what a Lipschitz bound certifies by itself."""
    bound, logits, test = model.lipschitz_bound().detach().cpu().double(), logits.cpu().double(), task.test
    y = test.y.double() if test.y.is_floating_point() else test.y
    if task.kind != "regression":
        return certified_accuracies(task.kind, logits, y, bound, metrics.radii, test.shares)
    found: dict[str, Tensor] = {}
    target = target_scale(task)
    for radius in metrics.radii:
        box = target.raw(Box(logits - radius * bound, logits + radius * bound))
        found |= scores_of(box, target.center + target.scale * y, radius, test.shares)
    return found


def target_scale(task: Task) -> TargetScale:
    """Return the units of the target of a regression."""
    return TargetScale(task.target_center, task.target_scale)


@torch.no_grad()
def upper_input_bounds(network: Any) -> Tensor:
    """Return `input_bounds` (inputs,) in float64, rounded up: a sum in float32 may lie below the bound.

    A network that offers no slopes has the bounds that it gives.
    """
    if isinstance(network, HasSlopes):
        return exact_network(network, "regression").input_bounds()  # of the outputs as they are
    return network.input_bounds().detach().double().cpu()


@torch.no_grad()
def upper_lipschitz_bound(network: Any) -> float:
    """Return `lipschitz_bound` in float64, rounded up where the network offers slopes."""
    if isinstance(network, HasSlopes):
        return upper_input_bounds(network).sum().item()
    return network.lipschitz_bound().item()
