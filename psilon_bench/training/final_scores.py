"""The scores of finished predictions: of the network, of the constant prediction, calibrated, and of conformal sets.

They are computed once for each member, from its outputs on validation and test rows.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from psilon_bench.config.schema import MetricsSection
from psilon_bench.data.task import Split, Task
from psilon_bench.metrics import conformal, prediction
from psilon_bench.metrics.classification import brier, classification_scores, expected_calibration_error
from psilon_bench.metrics.constant import constant_outputs
from psilon_bench.metrics.regression import regression_scores
from psilon_bench.metrics.temperature import fit_temperature
from psilon_bench.training.engine import Outcome, Row
from psilon_bench.training.predictions import prediction_table, raw

Outputs = Mapping[str, Tensor]  # (rows, outputs), by the name of the split
Scores = Mapping[str, Row]  # by the name of the split


def add_predictions(outcome: Outcome, task: Task, logits: Outputs, metrics: MetricsSection, constant: Scores) -> None:
    """Add the scores of a member's outputs, and its predictions: those of the saved network, calibrated where it is.

    Of outputs that are not all finite there are no scores, nor of rows with weights, which these scores would count
    alike beside a loss that does not. constant: those of `constant_scores`.
    """
    logits = {split: values.detach().double().cpu() for split, values in logits.items()}
    if not has_weights(task) and all(values.isfinite().all() for values in logits.values()):
        scores, logits = predicted_scores(task, logits, metrics, constant)
        outcome.metrics |= scores
    outcome.predictions = prediction_table(task, logits)


def predicted_scores(task: Task, logits: Outputs, metrics: MetricsSection, constant: Scores) -> tuple[Row, Outputs]:
    """Return all scores of finite outputs, float64 on the CPU, and the outputs as they are used: after calibration."""
    row = final_scores(task, logits, constant)
    if metrics.calibrate == "temperature":
        row["temperature"] = fit_temperature(task.kind, logits["val"], targets(task.val))
        logits = {split: values / row["temperature"] for split, values in logits.items()}
        row |= calibrated_scores(task, logits)
    if metrics.coverage is not None:
        row |= conformal_scores(task, logits, metrics.coverage)
    return row, logits


def has_weights(task: Task) -> bool:
    """Tell whether rows of the task have weights."""
    return any(split.weights is not None for split in (task.train, task.val, task.test))


def score_names(task: Task, metrics: MetricsSection) -> set[str]:
    """Return the names of the scores that this task will have: which are defined depends on its targets alone."""
    if task.kind == "recovery" or has_weights(task):
        return set()
    splits = {name: split for name, split in (("val", task.val), ("test", task.test)) if len(split)}
    zeros = {name: torch.zeros(len(rows), task.num_outputs, dtype=torch.float64) for name, rows in splits.items()}
    (constant,) = constant_scores([task])
    return set(predicted_scores(task, zeros, metrics, constant)[0])


def final_scores(task: Task, logits: Outputs, constant: Scores) -> Row:
    """Return scores named `test/f1`, and those of the constant prediction, named `constant/test/f1`."""
    row: Row = {}
    for name, values in logits.items():
        row |= {f"{name}/{score}": value for score, value in scores_of(task, getattr(task, name), values).items()}
        row |= {f"constant/{name}/{score}": value for score, value in constant[name].items()}
    return row


def constant_scores(tasks: Sequence[Task]) -> list[Scores]:
    """Return the scores of the constant prediction of each task; a task that several members share has them once.

    Beside them the loss and, of classes, the accuracy, which evaluations have of the network. A task whose rows have
    weights, and a recovery, have none.
    """
    found: dict[int, Scores] = {}
    for task in tasks:
        if id(task) not in found:
            scored = () if task.kind == "recovery" or has_weights(task) else ("val", "test")
            found[id(task)] = {name: constant_scores_on(task, getattr(task, name)) for name in scored}
    return [found[id(task)] for task in tasks]


def constant_scores_on(task: Task, split: Split) -> Row:
    """Return the scores of the constant prediction on a split, none where it has no rows."""
    if not len(split):
        return {}
    constant = constant_outputs(task, len(split))
    usual = prediction.scores(task.kind, constant, targets(split))
    return {score: value.item() for score, value in usual.items()} | scores_of(task, split, constant)


def scores_of(task: Task, split: Split, logits: Tensor) -> Row:
    """Return the scores of outputs (rows, outputs) on a split; those of a regression are in units of the target."""
    if task.kind == "regression":
        return regression_scores(raw(task, split.y), raw(task, logits))
    return classification_scores(task.kind, logits, right(split))


def calibrated_scores(task: Task, logits: Outputs) -> Row:
    """Return `test/calibrated_loss`, `_brier` and `_ece`, of logits that were divided by the temperature."""
    row: Row = {}
    for name, values in logits.items():
        split: Split = getattr(task, name)
        likely = prediction.probabilities(task.kind, values).numpy()
        row[f"{name}/calibrated_loss"] = prediction.loss(task.kind, values, targets(split)).item()
        row[f"{name}/calibrated_brier"] = brier(likely, right(split))
        row[f"{name}/calibrated_ece"] = expected_calibration_error(likely, right(split))
    return row


def conformal_scores(task: Task, logits: Outputs, coverage: float) -> Row:
    """Return `conformal_halfwidth` or `conformal_threshold`, fitted to validation rows, and what they do on test rows.

    That is `test/coverage`, with `test/interval_width` in units of the target, or with `test/set_size`.
    """
    if task.kind == "regression":
        half = conformal.halfwidth(raw(task, task.val.y), raw(task, logits["val"]), coverage)
        scores = conformal.interval_scores(raw(task, task.test.y), raw(task, logits["test"]), half)
        fitted = {"conformal_halfwidth": half}
    else:
        likely = {name: prediction.probabilities(task.kind, values).numpy() for name, values in logits.items()}
        limit = conformal.threshold(likely["val"], right(task.val), coverage)
        scores = conformal.set_scores(likely["test"], right(task.test), limit)
        fitted = {"conformal_threshold": limit}
    return fitted | {f"test/{name}": value for name, value in scores.items()}


def targets(split: Split) -> Tensor:
    """Return the targets as losses take them beside outputs in float64."""
    return split.y if split.y.dtype == torch.int64 else split.y.double()


def right(split: Split) -> np.ndarray:
    """Return the index of the right class of each row, int64 (rows,)."""
    return split.y.flatten().long().numpy()
