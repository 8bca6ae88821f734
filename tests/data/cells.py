"""Columns of a small table of text, and the line by which a table is refused."""

import math
from typing import Any

import pytest

from psilon_bench.errors import UsageError

ROWS = 120
NUMBERS = [f"{math.sin(row):.3f}" for row in range(ROWS)]
TARGET = [str(row % 2) for row in range(ROWS)]


def lines(*columns: list[str], end: str = "") -> list[str]:
    """Rows of these columns."""
    return [",".join(cells) + end for cells in zip(*columns, strict=True)]


def raised(load: Any, **values: Any) -> str:
    """The one line by which a table is refused."""
    with pytest.raises(UsageError) as error:
        load("table", **values)
    assert "\n" not in str(error.value)
    return str(error.value)
