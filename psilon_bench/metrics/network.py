"""Measures of a network without data: bounds, sparsity, sizes."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Shaped
from torch import Tensor, nn

from psilon_bench.metrics import sparsity
from psilon_bench.metrics.functions import MetricFunction, values
from psilon_bench.metrics.units import unit_measures
from psilon_bench.models.offers import HasLipschitzBound, HasMeasures, HasPathNorm, HasWeights
from psilon_bench.models.units import pairs_of


def curve_measures(
    model: Any, unit_threshold: float, functions: Sequence[MetricFunction] = ()
) -> dict[str, Shaped[Tensor, ""]]:
    """Return the measures that are recorded at every evaluation, as far as the network or baseline offers them.

    `unit_threshold` is the size ||w_k||_2 ||v_k||_2 up to which a unit counts as inactive.
    `functions` are metrics of your own.
    """
    result = model.measures() if isinstance(model, HasMeasures) else {}
    if isinstance(model, HasPathNorm):
        result["path_norm"] = model.path_norm()
    if isinstance(model, HasWeights):
        result["near_sparsity"] = sparsity.weight_vectors_near_sparsity(model.weights())
    if pairs_of(model):
        result |= unit_measures(model, unit_threshold)
    return result | values(functions, model)


def final_measures(
    model: Any, unit_threshold: float, functions: Sequence[MetricFunction] = ()
) -> dict[str, Shaped[Tensor, ""]]:
    """Return the measures of a finished network or baseline: those of the curves, and those worth a look at the end."""
    result = curve_measures(model, unit_threshold, functions)
    if isinstance(model, HasLipschitzBound):
        result["lipschitz_bound"] = model.lipschitz_bound()
    if isinstance(model, HasPathNorm) and "original" in model.bounds:
        result["path_norm/original"] = model.path_norm("original")
    if isinstance(model, HasWeights):
        weights = model.weights()
        result["weight_sparsity"] = sparsity.weight_sparsity(weights)
        result["weight_sparsity/1e-13"] = sparsity.negligible(weights)
        result["num_nonzero"] = sparsity.num_nonzero(weights)
        layers = {f"weight_sparsity/layer{k}": sparsity.weight_sparsity([w]) for k, w in enumerate(weights, start=1)}
        result |= layers
    return result


def num_parameters(model: nn.Module) -> int:
    """Return how many numbers of the network are trained: weights or directions, lengths, biases."""
    return sum(parameter.numel() for parameter in model.parameters())
