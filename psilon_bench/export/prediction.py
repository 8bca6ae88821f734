"""Predictions for new rows as a table: one row for each row that came, in the same order."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from psilon_bench.errors import UsageError
from psilon_bench.metrics.certificate import certified_radii
from psilon_bench.metrics.crown import Box
from psilon_bench.metrics.exact_network import exact_network
from psilon_bench.metrics.intervals import TargetScale, output_interval
from psilon_bench.metrics.pairwise import pairwise_radii
from psilon_bench.metrics.prediction import class_logits
from psilon_bench.models.offers import HasLipschitzBound, HasSlopes
from psilon_bench.records.networks import SavedEnsemble, SavedNetwork
from psilon_bench.training.certified import upper_lipschitz_bound

EPS = np.finfo(np.float64).eps
NO_RADII: Mapping[str, Any] = {"radii": (), "certificate": "pairwise"}  # of a run's section metrics
RADIUS, SLOPE = "certified_radius", "slope_bound"
SCALED = (
    "inputs as scaled: numbers in standard deviations of the training rows (dataset.scaling=robust: quartile ranges; "
    "quantile: normal scores), levels as 0 and 1; a value that becomes missing is no bounded move"
)


@dataclass(frozen=True)
class Predicted:
    """A table with the column `prediction` and what else was asked for, and notes on it."""

    table: pd.DataFrame
    notes: list[str]


def predicted(
    model: SavedNetwork | SavedEnsemble,
    frame: pd.DataFrame,
    proba: bool,
    bounds: bool,
    metrics: Mapping[str, Any] = NO_RADII,
) -> Predicted:
    """Return what a network, or an ensemble, makes of raw rows (rows x columns).

    `prediction` is the name of the likeliest class, or a number in units of the target. `proba` adds
    `probability/<class>`; `bounds` adds what the certificate says, see `bounds_of`. Raises UsageError where a
    regression is asked for probabilities, and an ensemble or a network without a certificate for bounds.
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
        (columns, note), _ = noted(lambda: bounds_of(model, frame, metrics))
        table, notes = table.assign(**columns), [*notes, note]
    return Predicted(table, notes)


def noted(call: Callable[[], Any]) -> tuple[Any, list[str]]:
    """Return the result of a call and its warnings, each once."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = call()
    return result, list(dict.fromkeys(str(warning.message) for warning in caught))


@torch.no_grad()
def bounds_of(
    model: SavedNetwork | SavedEnsemble, frame: pd.DataFrame, metrics: Mapping[str, Any] = NO_RADII
) -> tuple[dict[str, Any], str]:
    """Return columns with what the certificate says of these rows, and a note on their units.

    For classes `certified_radius` (rows,): the class stays the same while all inputs move by less than it. For a
    regression `slope_bound`: moving all inputs by r changes the prediction by at most r times it; and at each R of the
    `radii` among `metrics`, the section of a run, `lower/R` and `upper/R` (rows,): the prediction stays between them
    while no input moves by more than R, by the run's `certificate`.
    """
    if isinstance(model, SavedEnsemble):
        raise UsageError(
            "--bounds is the certificate of one network, but RUN is an ensemble. Name the run of a member."
        )
    if not isinstance(model.network, HasLipschitzBound):
        raise UsageError(f"--bounds needs a certificate, and {type(model.network).__name__} offers none. Leave it out.")
    if model.task["kind"] != "regression":
        note = f"{RADIUS}: the class is the same while no input moves by as much ({SCALED})"
        return {RADIUS: radii_of(model, frame).numpy()}, note
    target = model.task["target"]
    columns = {SLOPE: upper_lipschitz_bound(model.network) * target["scale"] * (1 + 4 * EPS)}
    for radius in metrics["radii"]:
        box = TargetScale(target["center"], target["scale"]).raw(interval_of(model, frame, radius, metrics))
        columns |= {f"lower/{radius:g}": box.lower.numpy()[:, 0], f"upper/{radius:g}": box.upper.numpy()[:, 0]}
    ends = " lower/R, upper/R: the prediction stays between them while no input moves by more than R."
    note = f"{SLOPE}: units of {target['name']!r} per unit by which all inputs move.{ends if metrics['radii'] else ''}"
    return columns, f"{note} ({SCALED})"


def interval_of(model: SavedNetwork, frame: pd.DataFrame, radius: float, metrics: Mapping[str, Any]) -> Box:
    """Return where the scaled prediction of each row stays within the radius; of a bound alone, f(x) +- B radius."""
    if not isinstance(model.network, HasSlopes):
        made, moved = model.logits(frame), radius * upper_lipschitz_bound(model.network)
        return Box(made - moved, made + moved)
    x = model.network_inputs(frame).flatten(1).double()
    return output_interval(exact_network(model.network, "regression"), x, radius, metrics["certificate"])


def radii_of(model: SavedNetwork, frame: pd.DataFrame) -> Tensor:
    """Return the certified radius of each row, float64 (rows,): by pairs of logits where the network tells its slopes.

    Of a network of your own that does not, by the bound that it gives.
    """
    kind, logits = model.task["kind"], model.logits(frame)
    if not isinstance(model.network, HasSlopes):
        return certified_radii(kind, logits, torch.tensor(upper_lipschitz_bound(model.network), dtype=logits.dtype))
    x = model.network_inputs(frame).flatten(1).double()
    return pairwise_radii(exact_network(model.network, kind), x, class_logits(kind, logits).argmax(dim=1))
