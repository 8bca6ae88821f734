"""What is to be trained and how: everything that a trainer is built of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from psilon_bench.config.schema import MetricsSection
from psilon_bench.config.sections import TrainerSection
from psilon_bench.data.task import Kind, Task
from psilon_bench.metrics.network import curve_measures
from psilon_bench.pruning.pruner import Pruner
from psilon_bench.regularizers.regularizer import Regularizer
from psilon_bench.training.stack import Stack


@dataclass(frozen=True)
class Recipe:
    """Sequences have an entry for each member of the stack; all other values are common to the members.

    models: the networks as configured, of which the stack has the form that is trained.
    optimizer: makes an optimizer of parameters and of a learning rate, `lr`. scheduler: makes a schedule of an
    optimizer. epochs: up to which training goes. autocast: the type in which training steps call the networks; None for
    that of their parameters. num_parameters: of the networks as they are trained, before any pruning.
    """

    stack: Stack
    models: Sequence[nn.Module]
    tasks: Sequence[Task]
    regularizers: Sequence[Regularizer]
    lams: Sequence[float]
    seeds: Sequence[int]
    settings: TrainerSection
    metrics: MetricsSection
    epochs: int
    optimizer: Callable[[list[Tensor], float], torch.optim.Optimizer]
    lr: float
    scheduler: Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler]
    autocast: torch.dtype | None
    pruner: Pruner
    num_parameters: Sequence[int]

    @property
    def kind(self) -> Kind:
        """Return what the members predict; a stack has one kind of task."""
        return self.tasks[0].kind

    def measures(self, model: nn.Module) -> dict[str, Tensor]:
        """Return what each row of a history has of the network itself."""
        return curve_measures(model, self.metrics.unit_threshold, self.metrics.located)
