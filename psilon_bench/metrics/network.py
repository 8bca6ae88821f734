"""The numbers that a network has without data: bounds, sparsity, sizes."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from psilon_bench.metrics import sparsity
from psilon_bench.metrics.functions import Function, values
from psilon_bench.metrics.units import unit_measures
from psilon_bench.models.units import HasUnits


def curve_measures(model: Any, unit_threshold: float, functions: Sequence[Function] = ()) -> dict[str, Tensor]:
    """Those worth a curve, recorded at every evaluation; only what the network offers.

    unit_threshold: the size ||w_k|| ||v_k|| at and below which a unit counts as inactive.
    functions: metrics of your own.
    """
    result = model.measures() if hasattr(model, "measures") else {}
    if hasattr(model, "path_norm"):
        result["path_norm"] = model.path_norm()
    if hasattr(model, "weights"):
        result["near_sparsity"] = sparsity.weight_vectors_near_sparsity(model.weights())
    if isinstance(model, HasUnits) and model.units():
        result |= unit_measures(model, unit_threshold)
    return result | values(functions, model)


def final_measures(model: Any, unit_threshold: float, functions: Sequence[Function] = ()) -> dict[str, Tensor]:
    """Those of the finished network."""
    result = curve_measures(model, unit_threshold, functions)
    if hasattr(model, "lipschitz_bound"):
        result["lipschitz_bound"] = model.lipschitz_bound()
    if "original" in getattr(model, "bounds", ()):
        result["path_norm/original"] = model.path_norm("original")
    if hasattr(model, "weights"):
        weights = model.weights()
        result["weight_sparsity"] = sparsity.weight_sparsity(weights)
        result["weight_sparsity/1e-13"] = sparsity.negligible(weights)
        result["num_nonzero"] = sparsity.num_nonzero(weights)
        layers = {f"weight_sparsity/layer{k}": sparsity.weight_sparsity([w]) for k, w in enumerate(weights, start=1)}
        result |= layers
    return result


def num_parameters(model: nn.Module) -> int:
    """Trained numbers of one network: weights or directions, lengths, biases."""
    return sum(parameter.numel() for parameter in model.parameters())
