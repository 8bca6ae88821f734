"""New rows for a trained network: a file is read as dataset=table reads one, and its columns are those of training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from psilon_bench.data import checks
from psilon_bench.data.columns import ColumnReader
from psilon_bench.data.form import Form
from psilon_bench.data.raw_columns import as_number
from psilon_bench.data.table import form_of
from psilon_bench.data.table_file import Content, read_table_file
from psilon_bench.errors import UsageError

FORM: dict[str, Any] = {"missing": [], "decimal": ".", "thousands": None, "charset": "utf-8", "sep": None}


@dataclass(frozen=True)
class NewRows:
    """Rows in the order of their file, with the columns that a network needs, and notes on how they were read."""

    frame: pd.DataFrame
    notes: list[str]
    checksum: str  # sha256 of the file


def read_new_rows(
    path: Path, roles: Mapping[str, str], dataset: Mapping[str, Any], named_by: str = "ROWS", said: bool = True
) -> NewRows:
    """Return the rows of a file.

    `roles` are the columns that are needed, with what each holds (see `column_roles`); levels are taken as they are
    written, so that "007" stays a level, and numbers as this file spells them. `dataset` are the values of a data
    set's configuration, of which those in FORM count. Raises UsageError for a file that cannot be read, for columns
    that are not there, and for cells without a meaning. Columns that are not needed are not looked at; a note names
    them where `said`.
    """
    values = {key: dataset.get(key, value) for key, value in FORM.items()}
    form = form_of(values["missing"], values["decimal"], values["thousands"], values["charset"])
    content = _content(path, dataset, named_by)
    names = content.table.column_names
    absent = [column for column in roles if column not in names]
    if absent:
        raise UsageError(
            f"New rows must have the columns of the data, but {checks.name_list(absent)} "
            f"{'are' if len(absent) > 1 else 'is'} not in {path.name}. It has: {checks.name_list(names)}."
        )
    read = _reader(content, form, roles).read(list(roles))
    numbers = {name: as_number(read.frame[[name]], form)[:, 0] for name, role in roles.items() if role == "number"}
    other = [name for name in names if name not in roles]
    ignored = [f"columns that the network does not know are ignored: {checks.name_list(other)}"] if other else []
    return NewRows(read.frame.assign(**numbers), [*read.notes, *(ignored if said else [])], content.checksum)


def text_cells(path: Path, names: Sequence[str], dataset: Mapping[str, Any]) -> pd.DataFrame | None:
    """Return the cells of these columns as a file of text has them; None for a file that knows types.

    Rows are in the order of `read_new_rows`, and so are errors.
    """
    content = _content(path, dataset, "ROWS")
    return None if content.lines is None else content.table.select(list(names)).to_pandas().astype(object)


def _content(path: Path, dataset: Mapping[str, Any], named_by: str) -> Content:
    """Return the columns of a file that is written as the values of a data set's configuration say."""
    separator, charset = dataset.get("sep", FORM["sep"]), dataset.get("charset", FORM["charset"])
    return read_table_file(path, _separator(path, separator, dataset), charset, named_by)


def _separator(path: Path, separator: str | None, dataset: Mapping[str, Any]) -> str | None:
    """Return what separates fields: that of the training table for files with its ending, others have their own."""
    trained = Path(str(dataset.get("path") or path)).suffix
    return separator if path.suffix == trained else None


def _reader(content: Content, form: Form, roles: Mapping[str, str]) -> ColumnReader:
    """Return the reader of the columns; none of them is the target, whose cells are read by other rules."""
    return ColumnReader(content, form, [name for name, role in roles.items() if role == "category"], target="")
