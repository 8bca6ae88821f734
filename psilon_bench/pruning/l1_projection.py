"""Pruning by projection: the directions of weight-normalised rows go onto the probability simplex, to exact zeros."""

from typing import Annotated, Any

from pydantic import Field, PositiveInt
from torch import nn

from psilon_bench.config.schema import TrainerSection
from psilon_bench.errors import UsageError
from psilon_bench.models.offers import HasNormLayers
from psilon_bench.pruning.pruner import Pruner


class L1Projection(Pruner):
    """In the last `steps` steps each layer uses (1 - a) W + a W_projected, a from 0 to 1 (`NormLinear`). Biswas 2024.

    How sparse a row becomes depends on ||v_j||_1, which the function it computes does not. strength: the 1-norm that
    every row is brought to first, from 1 (nothing changes) upwards; None: the raw v_j as they are, the paper's rule.
    The path norm stays as it is.
    """

    def __init__(self, steps: PositiveInt, strength: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None) -> None:
        self.steps, self.strength = steps, strength

    def check(self, model: nn.Module, trainer: TrainerSection, steps: int) -> None:
        """UsageError for other networks, and where the pruning does not come to its end in the run."""
        check_rows(model)
        if self.steps > steps:
            raise UsageError(
                f"pruner.steps={self.steps} is more than the run's {steps} steps (set pruner.steps to at most {steps})"
            )
        check_end(trainer)

    def first_step(self, steps: int) -> int:
        """Where a begins to grow."""
        return steps - self.steps

    def at_step(self, model: Any, step: int, steps: int) -> None:
        """Set a."""
        for layer in model.norm_layers():
            layer.blend = max(0.0, (step - self.first_step(steps)) / self.steps)
            layer.strength = self.strength


class ProjectedGradient(Pruner):
    """V is projected before the first step and after every step, the same projection. Biswas 2024, ablation."""

    def check(self, model: nn.Module, trainer: TrainerSection, steps: int) -> None:
        """UsageError for networks without rows of 1-norm one."""
        check_rows(model)

    def after_step(self, model: Any) -> None:
        """V <- its projection."""
        for layer in model.norm_layers():
            layer.v.copy_(layer.projected())


def check_rows(model: nn.Module) -> None:
    """UsageError unless the network's rows are weight vectors of 1-norm |g|."""
    if not isinstance(model, HasNormLayers) or model.q != 1:
        raise UsageError(
            f"it projects weight vectors that are normalised by their 1-norm, and {type(model).__name__} has none as "
            f"configured (take model=pnet or psilon_resnet, or pruner=magnitude)"
        )


def check_end(trainer: TrainerSection) -> None:
    """UsageError where the network that is kept may be one of before the pruning."""
    if trainer.select == "best":
        raise UsageError("trainer.select=best may pick a network of before the pruning (set trainer.select=last)")
    if trainer.early_stopping is not None:
        raise UsageError("early stopping ends a run before the pruning (set trainer.early_stopping=null)")
