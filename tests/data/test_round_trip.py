"""What is written as CSV or Parquet and read again has the same values, types and levels, missing ones included."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psilon_bench.data import table
from psilon_bench.data.form import Form
from psilon_bench.data.tabular import RawTable

ROWS = 12
MISSING_WORDS = ["NA", "None", "null", "nan", "N/A", "?", "#N/A"]
LETTERS = st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters="\ufeff")
# a level begins with a letter, so that it is neither a number nor a date; words for what is missing are levels, too
LEVEL = st.one_of(
    st.sampled_from(MISSING_WORDS), st.builds("x{}".format, st.text(LETTERS, max_size=6)), st.just('a "b", c\nd; e')
)
FLOAT = st.floats(allow_nan=False, allow_infinity=False)
KINDS = {
    "float": (FLOAT, "float64"),
    "int": (st.integers(-(2**63), 2**63 - 1), "Int64"),
    "unsigned": (st.integers(2**63, 2**64 - 1), "UInt64"),
    "bool": (st.booleans(), "boolean"),
    "level": (LEVEL, "str"),
    "date": (st.datetimes(min_value=pd.Timestamp(1700, 1, 1), max_value=pd.Timestamp(2200, 1, 1)), "datetime64[us]"),
}


@st.composite
def column(draw: st.DrawFn) -> pd.Series:
    """Of one kind, with some cells missing; one level at least is an ordinary word."""
    kind = draw(st.sampled_from(sorted(KINDS)))
    values, dtype = KINDS[kind]
    cells = draw(st.lists(st.none() | values, min_size=ROWS - 1, max_size=ROWS - 1))
    return pd.Series([*cells, "xyz" if kind == "level" else draw(values)], dtype=dtype)


def read(path: Path) -> RawTable:
    """As the intake reads it by default."""
    asked = table.Reading("target", "infer", (), None, (), None, "utf-8", Form())
    return table.table_of_file(path, asked)


def written(frame: pd.DataFrame, folder: str, ending: str) -> Path:
    """By pandas, as users do."""
    path = Path(folder, f"my.{ending}")
    if ending == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(
            path, index=False, sep="\t" if ending.startswith("tsv") else ",", date_format="%Y-%m-%dT%H:%M:%S.%f"
        )
    return path


@pytest.mark.parametrize(
    "ending", ["csv", *(pytest.param(ending, marks=pytest.mark.slow) for ending in ("tsv.gz", "parquet"))]
)
@settings(deadline=None, max_examples=40)
@given(columns=st.lists(column(), min_size=1, max_size=4))
def test_values_types_and_levels_come_back(ending: Any, columns: Any) -> None:
    """Numbers to the last bit, integers beyond 2^53, moments, levels such as NA, and every hole where it was."""
    frame = pd.DataFrame({f"c{place}": cells for place, cells in enumerate(columns)} | {"target": np.arange(ROWS) % 3})
    with tempfile.TemporaryDirectory() as folder:
        raw = read(written(frame, folder, ending))
    assert list(raw.frame) == list(frame)
    for name, cells in frame.items():
        found = raw.frame[name]
        assert (name in raw.categorical) == (cells.dtype == "str")
        assert (name in raw.dates) == pd.api.types.is_datetime64_any_dtype(cells)
        assert found.isna().tolist() == cells.isna().tolist()
        assert found.dropna().tolist() == cells.dropna().tolist()
        assert isinstance(found.dropna().iloc[0], type(cells.dropna().iloc[0])) or found.dtype == cells.dtype


@settings(deadline=None, max_examples=100)
@given(cells=st.lists(st.integers(-(2**70), 2**70) | st.none(), min_size=3, max_size=20))
def test_integer_classes_are_those_of_the_file(cells: Any) -> None:
    """However large: as many classes as there are different integers."""
    cells = [*cells, 1, 2, 3]
    rows = [f"{place},{'' if cell is None else cell}" for place, cell in enumerate(cells)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "my.csv")
        path.write_text("\n".join(["a,target", *rows, ""]), encoding="utf-8")
        target = read(path).frame["target"].dropna()
    assert [int(cell) for cell in target] == [cell for cell in cells if cell is not None]
