"""The test metrics of an ensemble, by the functions that score a network, from the saved predictions of its members.

The predictions that count are those that `psilon_bench.records.networks.load_ensemble` makes: the weighted mean of
the members' values, or of their probabilities, calibrated where theirs are.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from psilon_bench.metrics.classification import classification_scores
from psilon_bench.metrics.regression import regression_scores
from psilon_bench.metrics.temperature import logs_of, tempered
from psilon_bench.records.ensemble_json import read_ensemble
from psilon_bench.report.ensemble_rows import PREDICTION, likely_and_right, rows_of_records
from psilon_bench.report.ensemble_selection import cross_entropy


def ensemble_scores(folder: Path) -> dict[str, float]:
    """Return the metrics of the ensemble in a folder, named as those of a run: test/rmse, test/accuracy.

    Rows with weights have none, for these scores would count all rows alike.
    """
    made = read_ensemble(folder)
    frames = [rows_of_records([folder / member.record], "test") for member in made.members]
    if "weight" in frames[0]:
        return {}
    weights = np.array([member.weight for member in made.members])
    scores = mean_scores(frames, weights, made.task, made.temperature)
    return {f"test/{name}": value for name, value in scores.items()}


def mean_scores(
    frames: list[pd.DataFrame], weights: np.ndarray, task: dict[str, Any], temperature: float | None = None
) -> dict[str, float]:
    """Return the scores of the weighted mean of predictions; task: as in run.json."""
    target = frames[0]["target"]
    if task["kind"] == "regression":
        mean = np.tensordot(weights, [frame[PREDICTION].to_numpy(float) for frame in frames], axes=1)
        return regression_scores(target.to_numpy(float), mean)
    likely = np.tensordot(weights, [likely_and_right(frame)[0] for frame in frames], axes=1)
    if temperature is not None:
        likely = tempered(likely, temperature)
    _, right = likely_and_right(frames[0])
    logs = logs_of(likely)
    logits = logs[:, 1:] - logs[:, :1] if task["kind"] == "binary" else logs
    usual = {
        "loss": float(cross_entropy(likely[np.arange(len(right)), right])),
        "accuracy": float(np.mean(likely.argmax(axis=1) == right)),
    }
    return usual | classification_scores(task["kind"], logits, right)
