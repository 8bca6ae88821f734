"""Pruning by projection of the directions of weight-normalised rows onto the probability simplex."""

from typing import Annotated, Any

from pydantic import Field, PositiveInt
from typing_extensions import override

from psilon_bench.config.sections import TrainerSection
from psilon_bench.errors import UsageError
from psilon_bench.models.offers import HasNormLayers
from psilon_bench.pruning.pruner import Pruner


class L1Projection(Pruner):
    """Pruning in the last `steps` steps, where layers use (1 - a) W + a W_projected with a from 0 to 1 (Biswas 2024).

    `NormLinear` has the formula; the path norm stays as it is. How sparse a row becomes depends on ||v_j||_1, on which
    the function of the row does not depend. `strength` is the 1-norm that every row is brought to first: 1 prunes
    nothing, larger values prune more. None takes v_j as it is, which is the paper's rule.
    """

    def __init__(self, steps: PositiveInt, strength: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None) -> None:
        self.steps, self.strength = steps, strength

    def check(self, model: Any, trainer: TrainerSection, steps: int) -> None:
        """Raise a UsageError for other networks, and where the pruning does not come to its end in the run."""
        check_rows(model)
        if self.steps > steps:
            raise UsageError(
                f"pruner.steps={self.steps} is more than the run's {steps} steps (set pruner.steps to at most {steps})"
            )
        check_end(trainer)

    def first_step(self, steps: int) -> int:
        """Return the step at which a begins to grow."""
        return steps - self.steps

    def at_step(self, model: Any, step: int, steps: int) -> None:
        """Set a and the strength in every weight-normalised layer."""
        for layer in model.norm_layers():
            layer.blend = max(0.0, (step - self.first_step(steps)) / self.steps)
            layer.strength = self.strength


class ProjectedGradient(Pruner):
    """Projected gradient descent: V is projected before the first step and after each (Biswas 2024, ablation)."""

    @override
    def check(self, model: Any, trainer: TrainerSection, steps: int) -> None:
        """Raise a UsageError for networks whose rows are not normalised by their 1-norm."""
        check_rows(model)

    def after_step(self, model: Any) -> None:
        """Replace V by its projection, in place."""
        for layer in model.norm_layers():
            layer.v.copy_(layer.projected())


def check_rows(model: Any) -> None:
    """Raise a UsageError unless the network's rows are weight vectors of 1-norm |g|."""
    if not isinstance(model, HasNormLayers) or model.q != 1:
        raise UsageError(
            f"it projects weight vectors that are normalised by their 1-norm, and {type(model).__name__} has none as "
            f"configured (take model=pnet or psilon_resnet, or pruner=magnitude)"
        )


def check_end(trainer: TrainerSection) -> None:
    """Raise a UsageError where the network that is kept may be one of before the pruning."""
    if trainer.select == "best":
        raise UsageError("trainer.select=best may pick a network of before the pruning (set trainer.select=last)")
    if trainer.early_stopping is not None:
        raise UsageError("early stopping ends a run before the pruning (set trainer.early_stopping=null)")
