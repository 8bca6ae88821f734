"""The metrics of your own on two rows, before anything is written."""

import torch
from torch import Tensor, nn

from psilon_bench.config.schema import Config
from psilon_bench.data.task import Task
from psilon_bench.errors import UsageError, in_brief
from psilon_bench.metrics.functions import MetricFunction, values
from psilon_bench.metrics.network import final_measures
from psilon_bench.metrics.prediction import scores
from psilon_bench.training.final_scores import score_names

ROWS = 2


@torch.no_grad()
def check_metrics(config: Config, task: Task, model: nn.Module) -> None:
    """Raise UsageError for a metric that fails on a new network, is no scalar, or is named like another."""
    if not config.metrics.functions:
        return
    parameter = next(model.parameters())
    logits = model.eval()(task.train.x[:ROWS].to(parameter.device, parameter.dtype))
    y = task.train.y[:ROWS].to(parameter.device)
    taken = {*scores(task.kind, logits, y), *final_measures(model, config.metrics.unit_threshold)}
    taken |= {name.rpartition("/")[2] for name in score_names(task, config.metrics)}
    for function in config.metrics.located:
        problem = problem_of(function, model, logits, y)
        if function.__name__ in taken:
            problem = "has the name of another metric"
        if problem:
            raise UsageError(f"metrics.functions: {function.__name__} {problem}. Change the function.")
        taken.add(function.__name__)


def problem_of(function: MetricFunction, model: nn.Module, logits: Tensor, y: Tensor) -> str | None:
    """Return what is wrong with a metric, as the end of a sentence; None where it gives a scalar."""
    try:
        (value,) = (values([function], model) | values([function], logits, y)).values()
        shape = tuple(value.shape)
    except Exception as error:  # whatever a function of yours may raise
        return f"fails on {ROWS} rows: {in_brief(error)}"
    return f"gives a tensor of shape {shape} where a scalar is asked for" if shape else None
