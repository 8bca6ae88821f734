"""The predictions of an ensemble's candidates, row by row, as their records have them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from psilon_bench.records.predictions import Part, read_predictions
from psilon_bench.report.keys import partition
from psilon_bench.report.records import Run

PREDICTION, PROBABILITY = "prediction", "probability/"


def replicates(runs: Sequence[Run], part: Part) -> list[list[Run]]:
    """Return the runs that predict all rows together: on validation rows the folds of a partition, else each alone."""
    return list(partition(runs, lambda run: run.partition).values()) if part == "val" else [[run] for run in runs]


def mean_of(candidates: Sequence[Sequence[Run]], weights: np.ndarray, part: Part) -> pd.DataFrame:
    """Return the rows of a part with the weighted mean of predictions in the place of those of one network.

    weights: (candidates,), of which those with 0 are not read. A candidate's own prediction is its replicates' mean.
    """
    picked = [runs for runs, weight in zip(candidates, weights, strict=True) if weight]
    frames = [[rows_of_part(same, part) for same in replicates(runs, part)] for runs in picked]
    alone = [mean_of_frames(of_one, np.full(len(of_one), 1 / len(of_one))) for of_one in frames]
    return mean_of_frames(alone, weights[weights > 0])


def mean_of_frames(frames: Sequence[pd.DataFrame], weights: np.ndarray) -> pd.DataFrame:
    """Return the first of these predictions of the same rows with the weighted mean of all in its place."""
    columns = predicted_columns(frames[0])
    mean = np.tensordot(weights, [frame[columns].to_numpy(float) for frame in frames], axes=1)
    return frames[0].assign(**dict(zip(columns, mean.T, strict=True)))


def predicted_columns(frame: pd.DataFrame) -> list[str]:
    """Return the names of the columns with the probabilities of classes, or of that with the predicted number."""
    return [name for name in frame if name.startswith(PROBABILITY)] or [PREDICTION]


def rows_of_part(runs: Sequence[Run], part: Part) -> pd.DataFrame:
    """Return the predictions of these runs for rows of validation or test, by the numbers of the rows."""
    return rows_of_records([run.folder for run in runs], part)


def rows_of_records(folders: Sequence[Path], part: Part) -> pd.DataFrame:
    """Return the predictions in these records for rows of validation or test, by the numbers of the rows."""
    frame = pd.concat([read_predictions(folder, part) for folder in folders], ignore_index=True)
    return frame.sort_values("row", kind="stable").set_index("row")


def likely_and_right(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities (rows, classes) and the places of the right classes (rows,) of predictions."""
    columns = predicted_columns(frame)
    classes = pd.Index([name.removeprefix(PROBABILITY) for name in columns])
    return frame[columns].to_numpy(dtype=float), classes.get_indexer(frame["target"].astype(str))
