"""The test metrics of an ensemble, by the functions that score a network, from the saved predictions of its members.

The predictions that count are those that `psilon_bench.records.networks.load_ensemble` makes: the weighted mean of
the members' values, or of their probabilities, calibrated where theirs are.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from psilon_bench.data.task import Kind
from psilon_bench.metrics.classification import classification_scores
from psilon_bench.metrics.regression import regression_scores
from psilon_bench.metrics.temperature import logs_of, tempered
from psilon_bench.records.ensemble_json import read_ensemble
from psilon_bench.report.ensemble_rows import PREDICTION, likely_and_right, mean_of_frames, rows_of_records
from psilon_bench.report.ensemble_selection import cross_entropy


def ensemble_scores(folder: Path) -> dict[str, float]:
    """Return the metrics of the ensemble in a folder, as `mean_scores` has them."""
    made = read_ensemble(folder)
    frames = [rows_of_records([folder / member.record], "test") for member in made.members]
    mean = mean_of_frames(frames, np.array([member.weight for member in made.members]))
    return mean_scores(mean, made.task, made.temperature)


def mean_scores(mean: pd.DataFrame, task: dict[str, Any], temperature: float | None) -> dict[str, float]:
    """Return the metrics of a mean of predictions of test rows, named as those of a run: test/rmse, test/accuracy.

    Rows with weights have none, for these scores would count all rows alike. task: as in run.json.
    """
    if "weight" in mean:
        return {}
    if task["kind"] == "regression":
        scores = regression_scores(mean["target"].to_numpy(float), mean[PREDICTION].to_numpy(float))
    else:
        scores = class_scores(mean, task["kind"], temperature)
    return {f"test/{name}": value for name, value in scores.items()}


def class_scores(mean: pd.DataFrame, kind: Kind, temperature: float | None) -> dict[str, float]:
    """Return the scores of a mean of probabilities at a temperature; None: as it is."""
    likely, right = likely_and_right(mean)
    if temperature is not None:
        likely = tempered(likely, temperature)
    logs = logs_of(likely)
    logits = logs[:, 1:] - logs[:, :1] if kind == "binary" else logs
    usual = {
        "loss": float(cross_entropy(likely[np.arange(len(right)), right])),
        "accuracy": float(np.mean(likely.argmax(axis=1) == right)),
    }
    return usual | classification_scores(kind, logits, right)
