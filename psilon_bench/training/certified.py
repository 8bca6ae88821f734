"""Certificates of a finished network: in float64 on the CPU, whatever it was trained in and on."""

from typing import Any

import torch
from torch import Tensor, nn

from psilon_bench.config.schema import MetricsSection
from psilon_bench.data.task import Task
from psilon_bench.metrics.certificate import certified_accuracies
from psilon_bench.metrics.crown import Box
from psilon_bench.metrics.exact_network import exact_network
from psilon_bench.metrics.intervals import TargetScale, interval_scores, scores_of
from psilon_bench.metrics.robustness import robust_accuracies
from psilon_bench.models.offers import HasLipschitzBound, HasSlopes
from psilon_bench.training.engine import Row


def certificates(model: Any, task: Task, metrics: MetricsSection, logits: Tensor) -> Row:
    """Return what is certified of the test rows at metrics.radii, and beside it what an attack leaves of that.

    Of classes these are accuracies, of a regression intervals and errors; without a Lipschitz bound there are none.
    logits (rows, outputs) are the model's on the test rows. A network that offers a bound alone, and no slopes, is
    certified by it, and not attacked.
    """
    if task.kind == "recovery" or not isinstance(model, HasLipschitzBound) or not len(task.test):
        return {}
    found = of_slopes(model, task, metrics) if isinstance(model, HasSlopes) else of_bound(model, task, metrics, logits)
    return {f"test/{name}": value.item() for name, value in found.items()}


def of_slopes(model: Any, task: Task, metrics: MetricsSection) -> dict[str, Tensor]:
    """Return what the layers of a network certify."""
    net, test = exact_network(model, task.kind), task.test
    x = test.x.flatten(1).to(precision_of(model)).double()  # the inputs that the network is given
    how = metrics.radii, metrics.certificate, metrics.attack_steps
    if task.kind == "regression":
        return interval_scores(net, x, test.y.double(), *how, target_scale(task), test.shares)
    return robust_accuracies(net, x, test.y.flatten().long(), *how, test.shares, metrics.exact_seconds)


@torch.no_grad()
def of_bound(model: Any, task: Task, metrics: MetricsSection, logits: Tensor) -> dict[str, Tensor]:
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


def precision_of(model: Any) -> torch.dtype:
    """Return the precision in which a model takes its inputs: that of its parameters, float64 for baselines."""
    return next(model.parameters()).dtype if isinstance(model, nn.Module) else torch.float64


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
