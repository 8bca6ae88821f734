"""Two classes in the plane, one inside a circle, with outliers: the decision regions of a network can be looked at."""

import hashlib
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field, NonNegativeInt, PositiveInt

from psilon_bench.data.tabular import RawTable, TaskOptions, make_task
from psilon_bench.data.task import Task
from psilon_bench.errors import UsageError
from psilon_bench.machine.memory import check_free

POINT_BYTES = 500  # as numbers, in a table, as text for the checksum


def load(
    name: str,
    train_size: PositiveInt,
    val_size: PositiveInt,
    test_size: PositiveInt,
    radius: Annotated[float, Field(gt=0, le=1)],
    outliers: NonNegativeInt,
    split_seed: NonNegativeInt,
) -> Task:
    """Return the task of telling points inside a circle from those outside, after the toy of Yang et al. 2022.

    Points are uniform in the square [-1, 1]^2, of class `inside` where x1^2 + x2^2 < radius^2, else `outside`.
    `outliers` training points have the wrong class; validation and test points have the right one. Raises UsageError
    for more outliers than training points, and for more points than memory holds.
    """
    if outliers > train_size:
        raise UsageError(
            f"dataset.outliers={outliers} is more than the {train_size} training points. "
            f"Set dataset.outliers to at most {train_size}."
        )
    sizes = [train_size, val_size, test_size]
    check_free(POINT_BYTES * sum(sizes), f"dataset={name}", "Set dataset.train_size, val_size, test_size to less.")
    points = np.random.default_rng(split_seed).uniform(-1, 1, (sum(sizes), 2))
    inside = (points**2).sum(axis=1) < radius**2
    inside[:outliers] ^= True  # the first points are training points, and all are drawn alike
    frame = pd.DataFrame({"x1": points[:, 0], "x2": points[:, 1], "class": np.where(inside, "inside", "outside")})
    raw = RawTable(
        name=name,
        frame=frame,
        target="class",
        regression=False,
        categorical=[],
        source="made by dataset=toy2d",
        licence="none: random numbers",
        checksum=hashlib.sha256(b"toy2d").hexdigest(),  # drawn: its arguments and its seed say what it is
    )
    parts = np.split(np.arange(len(frame)), np.cumsum(sizes)[:-1])
    return make_task(raw, TaskOptions(list(sizes), None, split_seed), parts)
