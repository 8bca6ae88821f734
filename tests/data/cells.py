"""Columns of a small table of text, and the line by which a table is refused."""

import math
from pathlib import Path
from typing import Any

import pytest

from psilon_bench.data import table
from psilon_bench.data.form import Form
from psilon_bench.data.tabular import RawTable
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


def raw(path: str, **values: Any) -> RawTable:
    """Before it is split and encoded."""
    form = Form(**{key: values.pop(key) for key in ("missing", "decimal", "thousands") if key in values})
    asked: dict[str, Any] = {
        "target": None,
        "kind": "infer",
        "drop": (),
        "group": None,
        "categorical": (),
        "separator": None,
    }
    return table.table_of_file(Path(path), table.Reading(**{**asked, "charset": "utf-8", "form": form, **values}))
