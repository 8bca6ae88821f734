"""Certificates of a finished network: in float64 on the CPU, whatever it was trained in and on."""

from typing import Any

import torch
from torch import Tensor, nn

from psilon_bench.config.schema import MetricsSection
from psilon_bench.data.task import Task
from psilon_bench.metrics.certificate import certified_accuracies
from psilon_bench.metrics.exact_network import exact_network
from psilon_bench.metrics.robustness import robust_accuracies
from psilon_bench.models.offers import HasLipschitzBound, HasSlopes
from psilon_bench.training.engine import Row


def certificates(model: Any, task: Task, metrics: MetricsSection, logits: Tensor) -> Row:
    """Return the certified accuracies on the test rows at metrics.radii, and beside them those under an attack.

    logits (rows, outputs) are the model's on the test rows. Without classes or a Lipschitz bound there are none. A
    network that offers a bound alone, and no slopes, is certified by it, and not attacked.
    """
    if task.kind not in ("binary", "multiclass") or not isinstance(model, HasLipschitzBound) or not len(task.test):
        return {}
    test, shares = task.test, task.test.shares
    if not isinstance(model, HasSlopes):
        y = test.y.double() if test.y.is_floating_point() else test.y
        with torch.no_grad():
            bound = model.lipschitz_bound().detach().cpu().double()
        found = certified_accuracies(task.kind, logits.cpu().double(), y, bound, metrics.radii, shares)
    else:
        x = test.x.flatten(1).to(precision_of(model)).double()  # the inputs that the network is given
        found = robust_accuracies(
            exact_network(model, task.kind),
            x,
            test.y.flatten().long(),
            metrics.radii,
            metrics.certificate,
            metrics.attack_steps,
            shares,
        )
    return {f"test/{name}": value.item() for name, value in found.items()}


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
