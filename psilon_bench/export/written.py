"""How the table of a run is written as text, which an export that reads text must know; and rows written so."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from psilon_bench.data.form import Form
from psilon_bench.data.levels import LARGEST_EXACT
from psilon_bench.data.new_rows import FORM
from psilon_bench.data.raw_columns import as_days, as_number, as_text
from psilon_bench.data.table import form_of


@dataclass(frozen=True)
class Written:
    """The spelling of numbers and missing values, and of a file its separator (None: by its ending) and character set.

    `ending` is that of the file that was trained on, for which the separator holds.
    """

    form: Form = field(default_factory=Form)
    separator: str | None = None
    charset: str = "utf-8"
    ending: str = ".csv"

    @property
    def marks(self) -> str:
        """Return in words how a number is written, with an example; nothing where it is as programs write them."""
        if self.form.plain:
            return ""
        return f"{self.form.marks}: {spelled_number(1234567.5, self.form)!r} is the number 1234567.5"


def written_as(dataset: Mapping[str, Any]) -> Written:
    """Return how a data set is written, from its configuration; a source other than a file of text has the defaults."""
    values = {key: dataset.get(key, value) for key, value in FORM.items()}
    form = form_of(values["missing"], values["decimal"], values["thousands"], values["charset"])
    return Written(form, values["sep"], values["charset"], Path(str(dataset.get("path") or ".csv")).suffix)


def as_written(frame: pd.DataFrame, roles: Mapping[str, str], form: Form) -> pd.DataFrame:
    """Return raw rows (rows x columns) as cells of text, such as a file has them; what is missing is empty."""
    return pd.DataFrame({name: _cells(frame[[name]], role, form) for name, role in roles.items()}, dtype=object)


def _cells(column: pd.DataFrame, role: str, form: Form) -> list[str]:
    """Return a column as text."""
    if role == "category":
        return as_text(column).iloc[:, 0].fillna("").tolist()
    values = (as_days(column) if role == "date" else as_number(column))[:, 0]
    moments = pd.to_datetime(values, unit="D") if role == "date" else values
    spelled = [str(cell) if role == "date" else spelled_number(cell, form) for cell in moments]
    return ["" if absent else word for word, absent in zip(spelled, np.isnan(values), strict=True)]


def spelled_number(value: float, form: Form) -> str:
    """Return a number as text, to its last digit, by the marks of a form; whole ones have no fraction."""
    exact = float(value).is_integer() and abs(value) < LARGEST_EXACT
    english = format(int(value) if exact else float(value), "," if form.thousands else "")
    marks = {",": form.thousands or "", ".": form.decimal}
    return "".join(marks.get(sign, sign) for sign in english)
