"""A training that is stopped between two steps."""

import contextlib
import io
from collections import Counter
from typing import Any

import torch

from psilon_bench.training.engine import Row


class Stop(Exception):
    """Asked to stop."""


def rows_of(fit: Any, stop_at: int | None = None) -> list[list[Row]]:
    """The rows of each member, up to a stop after so many steps."""
    rows: list[list[Row]] = [[] for _ in fit.members]
    steps: list[int] = []

    def safe_point() -> None:
        steps.append(1)
        if len(steps) == stop_at:
            raise Stop

    with contextlib.suppress(Stop):
        fit.run(lambda member, row: rows[member].append(row), safe_point=safe_point)
    return rows


def saved(engine: Any) -> Any:
    """The state through a file, as a checkpoint has it."""
    file = io.BytesIO()
    torch.save(engine.state(), file)
    file.seek(0)
    with torch.serialization.safe_globals([Counter]):
        return torch.load(file, weights_only=True)
