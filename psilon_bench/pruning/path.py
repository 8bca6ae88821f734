"""Pruning by paths: the weights on the smallest sums of paths go, as long as a bound on the outputs' change allows."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from psilon_bench.config.sections import TrainerSection
from psilon_bench.errors import UsageError
from psilon_bench.models.monotone import MonotoneInputs
from psilon_bench.models.offers import HasPathNorm, HasPlain, HasSlopes
from psilon_bench.models.path_change import changes_of_entries, largest_inputs, path_change, path_change_slack
from psilon_bench.models.slopes import SlopeLayer
from psilon_bench.pruning.pruner import Pruner


class PathPruning(Pruner):
    r"""Pruning of weights in the order of |w| dPhi/d|w|, as many as keep |f(x) - f'(x)|_1 <= max_change.

    It holds for all x whose entries are no larger than those of the training rows, |x_i| <= r_i, and times c where an
    entry is c times as large; outputs are those of the network, logits or the target as scaled. Phi is the sum over all
    paths, and the bound is `path_change`, which has the proof (Gonon et al., ICML 2025). Both stay as they are when
    units are rescaled, which magnitudes do not. Biases are not pruned. Of a monotone network the order is that of the
    network without the linear term, which depends on the weights, so that the bound counts how it changes.
    """

    def __init__(self, max_change: Annotated[float, Field(gt=0, allow_inf_nan=False)]) -> None:
        self.max_change = max_change

    @override
    def check(self, model: Any, trainer: TrainerSection, steps: int) -> None:
        """Raise a UsageError for a network without paths, and where the promise would be broken after the pruning."""
        if not isinstance(model, HasPathNorm) or not isinstance(model, HasSlopes) or not isinstance(model, HasPlain):
            raise UsageError(
                f"it needs the sums of paths, and {type(model).__name__} offers no path_norm(), slope_layers() and "
                "plain() (take model=pnet, snet, mlp or psilon_resnet, or pruner=magnitude)"
            )
        if model.lipschitz_activation > 1:
            raise UsageError(
                f"its bound holds for activations with slope at most 1, and the model's has "
                f"{model.lipschitz_activation} (take model.activation=relu, leaky_relu or tanh)"
            )
        if trainer.prune_then_finetune is not None:
            raise UsageError(
                "it promises how far outputs move, and trainer.prune_then_finetune moves them on "
                "(set trainer.prune_then_finetune=null, or take pruner=magnitude)"
            )

    def first_step(self, steps: int) -> int:
        """Return `steps`: the pruner acts after training."""
        return steps

    @override
    @torch.no_grad()
    def prune(self, model: Any, x: Float[Tensor, " row *input"]) -> dict[str, float]:
        """Set weights to 0 in place, and return the bound as `change`; x are the inputs of the training rows."""
        ranges = largest_inputs(x.cpu())
        exact = copy.deepcopy(model).cpu().double()
        weights = matrices(exact)
        kept = [weight.clone() for weight in weights]
        before = [frozen(layer) for layer in exact.slope_layers()]
        own = exact.own_slope_layers() if isinstance(exact, MonotoneInputs) else before
        order, slack = order_of(kept, own, ranges), path_change_slack(before, ranges)

        def change(count: int) -> float:
            """Return the bound where the first `count` weights in the order are 0."""
            keep = torch.ones_like(order, dtype=torch.float64).index_fill_(0, order[:count], 0)
            for weight, old, own in zip(weights, kept, keep.split([old.numel() for old in kept]), strict=True):
                weight.copy_(old * own.view_as(old))
            return path_change(before, exact.slope_layers(), ranges).item() + slack

        count = largest_within(change, len(order), self.max_change)
        found = change(count)
        for weight, pruned in zip(matrices(model), weights, strict=True):
            weight.copy_(pruned)  # a weight of float32, or 0
        return {"change": found if count else 0.0}


def matrices(model: Any) -> list[Tensor]:
    """Return the weights of a plain network, one for each of its slope layers: (unit, fan_in), or [W+, W-]."""
    return [parameter for parameter in model.parameters() if parameter.dim() > 1]


def frozen(layer: SlopeLayer) -> SlopeLayer:
    """Return the layer with copies of its tensors."""
    tensors = ("positive", "negative", "bias", "magnitude")
    return replace(layer, **{name: getattr(layer, name).clone() for name in tensors})


def order_of(
    weights: list[Tensor], layers: list[SlopeLayer], ranges: Float[Tensor, " input"]
) -> Int[Tensor, " weight"]:
    """Return the places of all weights in one row, by |w| dPhi/d|w|, the smallest first.

    What is equal in float32 is taken in the order of the places: paths through a unit that is read once and reads once
    go through both weights, which differ by rounding alone.
    """
    entries = changes_of_entries(layers, ranges)
    scores = [
        (weight.abs() * entry.repeat(1, weight.shape[1] // entry.shape[1])).flatten()
        for weight, entry in zip(weights, entries, strict=True)
    ]
    every = torch.cat(scores)
    return (every / every.max().clamp_min(torch.finfo(every.dtype).tiny)).float().argsort(stable=True)


def largest_within(cost: Callable[[int], float], most: int, limit: float) -> int:
    """Return a count with cost(count) <= limit and cost(count + 1) > limit, or `most`, by bisection; 0 costs nothing.

    Where the cost grows with the count, no larger count has a cost within the limit.
    """
    low, high = 0, most + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost(middle) <= limit else (low, middle)
    return low
