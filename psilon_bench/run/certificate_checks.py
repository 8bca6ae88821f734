"""What a certificate needs of the network, before anything is written."""

from typing import Any

from psilon_bench.config.schema import Config
from psilon_bench.data.task import Task
from psilon_bench.errors import UsageError
from psilon_bench.models.baselines import Baseline
from psilon_bench.models.offers import HasSlopes

MOST_UNITS = 2000


def check_certificate(config: Config, task: Task, model: Any) -> None:
    """Raise UsageError where metrics.certificate asks for more than the network's layers allow.

    For a recovery, and for metrics.radii=[], nothing is certified, and any certificate will do.
    """
    asked = config.metrics.certificate
    if asked == "pairwise" or task.kind == "recovery" or not config.metrics.radii:
        return
    if not isinstance(model, HasSlopes):
        raise UsageError(
            f"metrics.certificate={asked} goes through the layers of a network, and {type(model).__name__} of "
            f"model={config.model.name} does not tell their slopes. Set metrics.certificate=pairwise."
        )
    if not model.piecewise_linear:
        raise UsageError(
            f"metrics.certificate={asked} needs an activation of two slopes, and model={config.model.name} has a "
            "smooth one. Set model.activation=relu or leaky_relu, or metrics.certificate=pairwise."
        )
    if asked == "exact":
        check_exact(config, task, model)


def check_exact(config: Config, task: Task, model: HasSlopes) -> None:
    """Raise UsageError where branching has nothing to decide, or too many units to branch on."""
    if task.kind == "regression":
        raise UsageError(
            f"metrics.certificate=exact decides whether rows keep their class, and {task.name} is a regression. "
            "Set metrics.certificate=crown."
        )
    units = 0 if isinstance(model, Baseline) else sum(len(layer.bias) for layer in model.slope_layers()[:-1])
    if units > MOST_UNITS:
        raise UsageError(
            f"metrics.certificate=exact branches on units, of at most {MOST_UNITS}, and model={config.model.name} has "
            f"{units}, of which metrics.exact_seconds would settle few. Set metrics.certificate=crown, or train a "
            "narrower network."
        )
