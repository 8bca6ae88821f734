"""The raw rows behind a task, by their numbers: what a network that was saved may be shown again."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from psilon_bench.data.bundled import bundled_table
from psilon_bench.data.new_rows import read_new_rows, text_cells
from psilon_bench.data.openml import openml_table
from psilon_bench.errors import UsageError

Values = Mapping[str, Any]  # of a data set's configuration
Roles = Mapping[str, str]  # column -> number, category or date


def raw_rows(dataset: Values, roles: Roles, checksum: str) -> pd.DataFrame | None:
    """Return all rows (rows x columns) of the data set with this checksum, in the order of their numbers.

    None where they are not at hand: the source is not one of these, nothing may be fetched, or the content is another.
    A split of the user's own is part of a checksum, so such data are taken for what they were.
    """
    source = SOURCES.get(str(dataset.get("_target_")))
    if source is None:
        return None
    try:
        frame, found = source(dataset, roles)
    except (UsageError, KeyError):
        return None
    given = dataset.get("split") or dataset.get("splits")
    return frame if given or found == checksum else None


def raw_cells(dataset: Values, names: Sequence[str]) -> pd.DataFrame | None:
    """Return the cells of these columns as the file of the user's own table has them, in the order of `raw_rows`.

    None for other sources, and for files that are not text. UsageError for a file that cannot be read.
    """
    if SOURCES.get(str(dataset.get("_target_"))) is not _of_table:
        return None
    return text_cells(Path(dataset["path"]).expanduser(), names, dataset)


def _of_bundled(dataset: Values, _roles: Roles) -> tuple[pd.DataFrame, str]:
    """Return the rows of a data set that comes with scikit-learn, and their checksum."""
    raw = bundled_table(dataset["name"])
    return raw.frame, raw.checksum


def _of_openml(dataset: Values, _roles: Roles) -> tuple[pd.DataFrame, str]:
    """Return the rows of an OpenML data set in the cache, and their checksum; nothing is fetched."""
    raw = openml_table(dataset["task_id"], dataset["data_id"], dataset["target"], offline=True)
    return raw.frame, raw.checksum


def _of_table(dataset: Values, roles: Roles) -> tuple[pd.DataFrame, str]:
    """Return the rows of the user's file, and its checksum."""
    read = read_new_rows(Path(dataset["path"]).expanduser(), roles, dataset)
    return read.frame, read.checksum


SOURCES: dict[str, Callable[[Values, Roles], tuple[pd.DataFrame, str]]] = {
    "psilon_bench.data.bundled.load": _of_bundled,
    "psilon_bench.data.openml.load": _of_openml,
    "psilon_bench.data.table.load": _of_table,
}
