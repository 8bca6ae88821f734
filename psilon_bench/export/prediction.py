"""Predictions for new rows as a table: one row for each row that came, in the same order."""

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from psilon_bench.errors import UsageError
from psilon_bench.metrics.certificate import certified_radii
from psilon_bench.models.offers import HasLipschitzBound
from psilon_bench.records.networks import SavedEnsemble, SavedNetwork

RADIUS, SLOPE = "certified_radius", "slope_bound"
SCALED = "inputs as scaled: numbers in standard deviations of the training rows, levels as 0 and 1"


@dataclass(frozen=True)
class Predicted:
    """A table with the column `prediction` and what else was asked for, and notes on it."""

    table: pd.DataFrame
    notes: list[str]


def predicted(model: SavedNetwork | SavedEnsemble, frame: pd.DataFrame, proba: bool, bounds: bool) -> Predicted:
    """Return what a network, or an ensemble, makes of raw rows (rows x columns).

    `prediction` is the name of the likeliest class, or a number in units of the target. `proba` adds
    `probability/<class>`; `bounds` adds `certified_radius` or `slope_bound`, see `bounds_of`. Raises UsageError where
    a regression is asked for probabilities, and an ensemble or a network without a certificate for bounds.
    """
    first = model.members[0] if isinstance(model, SavedEnsemble) else model
    task = first.task
    if proba and task["kind"] == "regression":
        raise UsageError("--proba is for classes, but the run is a regression. Leave it out.")
    values, notes = noted(lambda: model.predict(frame))
    classes = np.array(task.get("classes", []), dtype=object)
    table = pd.DataFrame({"prediction": classes[values.argmax(axis=1)] if len(classes) else values})
    if proba:
        table = table.assign(**{f"probability/{name}": values[:, k] for k, name in enumerate(classes)})
    if bounds:
        (name, column, note), _ = noted(lambda: bounds_of(model, frame))
        table, notes = table.assign(**{name: column}), [*notes, note]
    return Predicted(table, notes)


def noted(call: Callable[[], Any]) -> tuple[Any, list[str]]:
    """Return the result of a call and its warnings, each once: members of an ensemble warn alike."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = call()
    return result, list(dict.fromkeys(str(warning.message) for warning in caught))


@torch.no_grad()
def bounds_of(model: SavedNetwork | SavedEnsemble, frame: pd.DataFrame) -> tuple[str, Any, str]:
    """Return the name, the values and the units of what the certificate says of these rows.

    For classes `certified_radius` (rows,): the class stays the same while all inputs move by less than it. For a
    regression `slope_bound`: moving all inputs by r changes the prediction by at most r times it.
    """
    if isinstance(model, SavedEnsemble):
        raise UsageError(
            "--bounds is the certificate of one network, but RUN is an ensemble. Name the run of a member."
        )
    if not isinstance(model.network, HasLipschitzBound):
        raise UsageError(f"--bounds needs a certificate, and {type(model.network).__name__} offers none. Leave it out.")
    network: Any = copy.deepcopy(model.network).double()  # a float32 sum may lie below the bound
    bound, kind = network.lipschitz_bound(), model.task["kind"]
    if kind == "regression":
        target = model.task["target"]
        slope = bound.item() * target["scale"]
        return SLOPE, slope, f"{SLOPE}: units of {target['name']!r} per unit by which all inputs move ({SCALED})"
    exact = SavedNetwork(network, model.preprocessing, model.inputs, model.task)
    radii = certified_radii(kind, exact.logits(frame), bound)
    return RADIUS, radii.numpy(), f"{RADIUS}: the class is the same while no input moves by as much ({SCALED})"
