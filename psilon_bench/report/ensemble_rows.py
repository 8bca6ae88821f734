"""The predictions of an ensemble's candidates, row by row, as their records have them."""

from collections.abc import Sequence
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd

from psilon_bench.records import places
from psilon_bench.report.keys import partition
from psilon_bench.report.records import Run

Part = Literal["val", "test"]
PROBABILITY = "probability/"


def replicates(runs: Sequence[Run], part: Part) -> list[list[Run]]:
    """Return the runs that predict all rows together: on validation rows the folds of a partition, else each alone."""
    return list(partition(runs, lambda run: run.partition).values()) if part == "val" else [[run] for run in runs]


def mean_likely(
    candidates: Sequence[Sequence[Run]], weights: np.ndarray, part: Part
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return the weighted mean of probabilities (rows, classes), the right classes (rows,), whether rows have weights.

    weights: (candidates,), of which those with 0 are not read.
    """
    total, frame, right = np.zeros(()), pd.DataFrame(), np.zeros(())
    for runs, weight in zip(candidates, weights, strict=True):
        own = [rows_of_part(same, part) for same in replicates(runs, part)] if weight else []
        for frame in own:
            likely, right = likely_and_right(frame)
            total = total + weight / len(own) * likely
    return total, right, "weight" in frame


def rows_of_part(runs: Sequence[Run], part: Part) -> pd.DataFrame:
    """Return the predictions of these runs for rows of validation or test, by the numbers of the rows."""
    read = partial(pd.read_parquet, filters=[("split", "==", part)])
    frame = pd.concat([read(run.folder / places.PREDICTIONS) for run in runs], ignore_index=True)
    return frame.sort_values("row", kind="stable").set_index("row")


def likely_and_right(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities (rows, classes) and the places of the right classes (rows,) of predictions."""
    columns = [name for name in frame if name.startswith(PROBABILITY)]
    classes = pd.Index([name.removeprefix(PROBABILITY) for name in columns])
    return frame[columns].to_numpy(dtype=float), classes.get_indexer(frame["target"].astype(str))
