"""Files that know the types of their columns are read by them; dates are numbers of days, or places in cycles."""

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from psilon_bench.errors import UsageError

ROWS = 120
X = [float(row * row % 97) for row in range(ROWS)]
DAYS = [dt.date(2020, 1, 1) + dt.timedelta(days=3 * row) for row in range(ROWS)]


class Stored:
    """Writes Parquet files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, **columns: pa.Array) -> str:
        """The path of a file with these columns, numbers x and a target."""
        pq.write_table(pa.table({"x": X, **columns, "target": [row % 3 for row in range(ROWS)]}), self.path)
        return str(self.path)

    def target(self, values: pa.Array) -> str:
        """The path of a file with numbers x and this target."""
        pq.write_table(pa.table({"x": X, "target": values}), self.path)
        return str(self.path)


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    """stored(a=array), stored.target(array): the path of a Parquet file."""
    return Stored(tmp_path / "my.parquet")


def inputs(load: Any, path: str, **values: Any) -> tuple[list[str], np.ndarray]:
    """The task's features, and the raw numbers of its training rows."""
    task = load("table", path=path, **values)
    return task.feature_names, np.asarray(task.train.x)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([Decimal(row) / 4 for row in range(ROWS)], pa.decimal128(6, 2)),
        ([Decimal(row) for row in range(ROWS)], pa.decimal128(30, 0)),
        ([Decimal(row) for row in range(ROWS)], pa.decimal256(50, 0)),
        ([dt.timedelta(minutes=row) for row in range(ROWS)], pa.duration("ms")),
        ([dt.time(row // 60, row % 60) for row in range(ROWS)], pa.time32("s")),
        ([dt.time(row // 60, row % 60) for row in range(ROWS)], pa.time64("us")),
        (range(ROWS), pa.uint8()),
        (range(ROWS), pa.float32()),
        ([float(row) for row in range(ROWS)], pa.float16()),
    ],
)
def test_numbers_by_type(stored: Stored, load: Any, values: Any, kind: Any) -> None:
    """Standardised, all of these are the counting of the rows; missing cells get an indicator."""
    whole = inputs(load, stored(a=pa.array(values, kind)))
    plain = inputs(load, stored(a=pa.array(range(ROWS))))
    assert whole[0] == ["x", "a"]
    np.testing.assert_allclose(whole[1], plain[1], rtol=1e-4, atol=1e-6)
    holes = pa.array([None if row % 10 == 0 else value for row, value in enumerate(values)], kind)
    assert inputs(load, stored(a=holes))[0] == ["x", "a", "missingindicator_a"]


def test_durations_are_in_seconds(stored: Stored, load: Any) -> None:
    """Whatever they are stored in."""
    for unit in ("s", "ms", "us", "ns"):
        values = pa.array([dt.timedelta(seconds=row) for row in range(ROWS)], pa.duration(unit))
        task = load("table", path=stored(a=values))
        expected = load("table", path=stored(a=pa.array(range(ROWS))))
        assert task.input_scales == pytest.approx(expected.input_scales)
        new = pd.DataFrame({"x": [1.0, 1.0], "a": pd.to_timedelta([0, 60], unit="s")})
        as_numbers = expected.preprocessing.transform(pd.DataFrame({"x": [1.0, 1.0], "a": [0, 60]}))
        np.testing.assert_allclose(task.preprocessing.transform(new), as_numbers)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (pa.array([[1, 2]] * ROWS), "list<"),
        (pa.array([{"a": 1}] * ROWS), "struct<a: int64>"),
        (pa.array([[("k", 1)]] * ROWS, pa.map_(pa.string(), pa.int64())), "map<string, int64"),
        (pa.array([b"x"] * ROWS), "binary"),
        (pa.array([[1.0, 2.0]] * ROWS, pa.list_(pa.float64(), 2)), "fixed_size_list<"),
    ],
)
def test_cells_of_several_values_are_one_clear_line(stored: Stored, load: Any, values: Any, told: Any) -> None:
    """And the column can be left out."""
    with pytest.raises(UsageError, match="A cell of a table holds one number") as error:
        load("table", path=stored(a=values))
    assert f"those of column 'a' are {told}" in str(error.value)
    assert "Leave it out with dataset.drop=[a]" in str(error.value)
    assert "\n" not in str(error.value)
    assert load("table", path=stored(a=values), drop=["a"]).feature_names == ["x"]


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (pa.array(["z", "x"] * 60).dictionary_encode(), ["x", "z"]),
        (pa.DictionaryArray.from_arrays(pa.array([2, 0] * 60), pa.array(["x", "y", "z"])), ["x", "z"]),
        (pa.DictionaryArray.from_arrays(pa.array([2, 0] * 60), pa.array([10, 11, 2])), ["2", "10"]),
        (pa.array([True, False] * 60), ["False", "True"]),
        (pa.array([True, None, False] * 40), ["False", "True"]),
        (pa.array([Decimal(2**60), Decimal(2**60 + 1)] * 60, pa.decimal128(20, 0)), [str(2**60), str(2**60 + 1)]),
        (pa.array([2**60, None, 2**60 + 1] * 40), [str(2**60), str(2**60 + 1)]),
        (pa.array([2**64 - 1, 2**64 - 2] * 60, pa.uint64()), [str(2**64 - 2), str(2**64 - 1)]),
        (pa.array(["1", "10", "2"] * 40), ["1", "2", "10"]),
        (pa.array([str(row % 12) for row in range(ROWS)]), [str(level) for level in range(12)]),
        (pa.array(["NA", "None", "x"] * 40), ["NA", "None", "x"]),
        (pa.array(["1", "2", "NA"] * 40), ["1", "2", "NA"]),
    ],
)
def test_classes_by_type(stored: Stored, load: Any, values: Any, classes: Any) -> None:
    """Levels of which there are no rows are none; text is classes, however its cells look; integers are exact."""
    assert load("table", path=stored.target(values)).classes == classes


def test_text_that_holds_numbers(stored: Stored, load: Any) -> None:
    """Levels if the file says text, which is told; but among a word for missing values they were read badly before."""
    task = load("table", path=stored(a=pa.array(["1", "10", "2"] * 40)))
    assert task.feature_names[1:] == ["a=1", "a=10", "a=2"]
    assert "'a' holds numbers that its file calls text: levels" in task.notes
    task = load("table", path=stored(a=pa.array(["1", "10", "?"] * 40)))
    assert task.feature_names == ["x", "a", "missingindicator_a"]
    with pytest.raises(UsageError, match=r"Column 'a' holds numbers \('0' in row 1.*Store it as numbers, or set"):
        load("table", path=stored(a=pa.array([str(row) for row in range(ROWS)])))
    with pytest.raises(UsageError, match=r"'Total' in row 120\. Correct the file, or set dataset.missing=\[Total\]"):
        load("table", path=stored(a=pa.array([*map(str, range(ROWS - 1)), "Total"])))


def test_missing_can_be_set_for_categories(stored: Stored, load: Any) -> None:
    """Of dictionaries and numbers."""
    task = load("table", path=stored(a=pa.array(["u", "v", "?"] * 40).dictionary_encode()), missing=["?"])
    assert task.feature_names == ["x", "a=u", "a=v", "a=missing"]
    assert "missing: 'a' (40 '?')" in task.notes


def test_names_of_rows_are_no_inputs(tmp_path: Path, load: Any) -> None:
    """pandas stores its index among the columns."""
    frame = pd.DataFrame({"x": X, "target": [row % 3 for row in range(ROWS)]}, index=pd.RangeIndex(7, 7 + ROWS))
    frame.rename(index=str).to_parquet(tmp_path / "my.parquet")
    assert load("table", path=str(tmp_path / "my.parquet")).feature_names == ["x"]
    frame.rename_axis(index="id").rename(index=str).to_parquet(tmp_path / "my.parquet")
    task = load("table", path=str(tmp_path / "my.parquet"))
    assert task.feature_names == ["x"]
    assert "left out 'id', which names the rows (pandas)" in task.notes


# dates


DATES = {
    "date32": pa.array(DAYS, pa.date32()),
    "date64": pa.array(DAYS, pa.date64()),
    "seconds": pa.array(DAYS, pa.date32()).cast(pa.timestamp("s")),
    "nanoseconds": pa.array(DAYS, pa.date32()).cast(pa.timestamp("ns")),
    "zone": pa.array(DAYS, pa.date32()).cast(pa.timestamp("us", "UTC")),
    "text": pa.array([str(day) for day in DAYS]),
}


@pytest.mark.parametrize("kind", DATES)
def test_dates_are_days(stored: Stored, load: Any, kind: Any) -> None:
    """In every type and as text in ISO 8601: the same numbers; in new rows too, as text or moments."""
    days = [(day - dt.date(1970, 1, 1)).days for day in DAYS]
    task, plain = load("table", path=stored(a=DATES[kind])), load("table", path=stored(a=pa.array(days)))
    assert task.feature_names == ["x", "a"]
    assert "'a' holds dates" in task.notes
    np.testing.assert_allclose(task.train.x, plain.train.x, atol=1e-6)
    expected = plain.preprocessing.transform(pd.DataFrame({"x": [0.0], "a": days[5:6]}))
    for moment in (str(DAYS[5]), DAYS[5], pd.Timestamp(DAYS[5]), pd.Timestamp(DAYS[5], tz="UTC")):
        new = task.preprocessing.transform(pd.DataFrame({"x": [0.0], "a": [moment]}))
        np.testing.assert_allclose(new, expected, atol=1e-6)


def test_cycles(stored: Stored, load: Any) -> None:
    """Sine and cosine of year and week beside the days; of the day where the moments are not midnights."""
    task = load("table", path=stored(a=DATES["date32"]), dates="cyclic")
    waves = [f"a_{period}_{wave}" for period in ("year", "week") for wave in ("sin", "cos")]
    assert task.feature_names == ["x", "a", *waves]
    rows = pd.DataFrame({"x": 0.0, "a": pd.to_datetime(["2021-01-01", "2021-01-08", "2021-01-05"])})
    week = task.preprocessing.transform(rows)[:, 4:6]
    np.testing.assert_allclose(week[0], week[1], atol=1e-9)
    assert np.abs(week[0] - week[2]).max() > 0.1
    hours = pa.array([dt.datetime(2020, 1, 1) + dt.timedelta(hours=7 * row) for row in range(ROWS)])
    assert load("table", path=stored(a=hours), dates="cyclic").feature_names[-2:] == ["a_day_sin", "a_day_cos"]


def test_missing_dates(stored: Stored, load: Any) -> None:
    """The median day and an indicator; in text a word says so."""
    holes = [row % 7 == 0 for row in range(ROWS)]
    values = [None if hole else day for hole, day in zip(holes, DAYS, strict=True)]
    for array in (pa.array(values), pa.array(["NA" if day is None else str(day) for day in values])):
        assert load("table", path=stored(a=array)).feature_names == ["x", "a", "missingindicator_a"]
        assert load("table", path=stored(a=array), dates="cyclic").num_features == 7


def test_dates_that_are_asked_about(stored: Stored, load: Any) -> None:
    """A word among dates, a date as a target, and text that is none in new rows."""
    with pytest.raises(UsageError, match=r"must hold dates or levels, but 1 of its 120 cells .*: 'soon' in row 120"):
        load("table", path=stored(a=pa.array([*map(str, DAYS[1:]), "soon"])))
    with pytest.raises(UsageError, match="A target must be numbers or classes, but 'target' holds dates"):
        load("table", path=stored.target(DATES["date32"]))
    task = load("table", path=stored(a=DATES["date32"]))
    with pytest.raises(UsageError, match=r"Column 'a' holds dates, but 'soon' is none\. Write it as 2024-12-31"):
        task.preprocessing.transform(pd.DataFrame({"x": [0.0], "a": ["soon"]}))


def test_dates_as_levels_and_groups(stored: Stored, load: Any) -> None:
    """As they are told to."""
    few = pa.array([DAYS[row % 3] for row in range(ROWS)])
    task = load("table", path=stored(a=few), categorical=["a"])
    assert task.feature_names == ["x", "a=2020-01-01", "a=2020-01-04", "a=2020-01-07"]
    groups = pa.array([DAYS[row // 6] for row in range(ROWS)])
    assert load("table", path=stored(a=groups), group="a").feature_names == ["x"]
