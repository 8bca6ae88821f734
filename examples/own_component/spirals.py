"""A data set of your own: two spirals."""

import hashlib

import numpy as np
import pandas as pd
from pydantic import NonNegativeInt, PositiveInt

from psilon_bench.data.tabular import RawTable, TaskOptions, make_task
from psilon_bench.data.task import Task

NOISE = 0.02  # standard deviation of both coordinates


def load(name: str, size: PositiveInt, turns: float, split_seed: NonNegativeInt) -> Task:
    """Return `size` points on two spirals that wind `turns` times around each other, and around the origin.

    Lang & Witbrock 1988. Points and split are drawn with `split_seed`; 60 % train, 20 % validate and 20 % test.
    """
    random = np.random.default_rng(split_seed)
    spiral = np.arange(size) % 2
    radius = random.uniform(0.2, 1, size)
    angle = np.pi * (2 * turns * radius + spiral)
    points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1) + random.normal(0, NOISE, (size, 2))
    frame = pd.DataFrame({"x1": points[:, 0], "x2": points[:, 1], "spiral": np.where(spiral, "second", "first")})
    table = RawTable(
        name=name,
        frame=frame,
        target="spiral",
        regression=False,
        categorical=[],
        source="drawn by spirals.py",
        licence="none: random numbers",
        checksum=hashlib.sha256(b"spirals").hexdigest(),  # drawn: its arguments and its seed say what it is
    )
    return make_task(table, TaskOptions([0.6, 0.2, 0.2], None, split_seed))
