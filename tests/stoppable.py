"""A training that is stopped between two steps."""

import contextlib
from typing import Any

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
