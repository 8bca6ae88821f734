"""Splits that a person brings, as a column, a file or an order: taken to the row, or refused in a line."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from psilon_bench.data import cache
from psilon_bench.data.tasks import load_task
from psilon_bench.data.time_order import split_by_order
from psilon_bench.errors import UsageError

ROWS = 90
WORDS = ["train", "Valid", "test", "train", "validation", "train", "val", "test", "train"]


@pytest.fixture
def frame() -> pd.DataFrame:
    """Numbers, levels, a day for every second row, and a column of words of a split."""
    rows = np.arange(ROWS)
    return pd.DataFrame(
        {
            "x": (7 * rows) % 31 + 0.5,
            "colour": np.where(rows % 2, "red", "green"),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta((rows * 41) % ROWS // 2, unit="D"),
            "part": [WORDS[row % len(WORDS)] for row in rows],
            "price": (13.0 * rows) % 47,
        }
    )


@pytest.fixture
def table(load: Any, frame: pd.DataFrame) -> Any:
    """table(frame, split="part"): the task of a table, dates as a file of text has them."""

    def table(frame: pd.DataFrame = frame, **values: Any) -> Any:
        frame.to_csv("my.csv", index=False)
        return load("table", path="my.csv", target="price", **values)

    return table


def rows_of(task: Any) -> Any:
    return [sorted(split.rows.tolist()) for split in (task.train, task.val, task.test)]


def named(frame: pd.DataFrame, *words: str) -> list[int]:
    return np.flatnonzero(frame["part"].str.lower().isin(words)).tolist()


def test_a_column_says_which_rows_are_which(table: Any, frame: pd.DataFrame) -> None:
    """Rows without a target are left out; the column is no input."""
    frame.loc[[0, 1], "price"] = None
    task = table(frame, split="part")
    expected = named(frame, "train"), named(frame, "valid", "validation", "val"), named(frame, "test")
    assert rows_of(task) == [[row for row in rows if row > 1] for rows in expected]
    assert not any("part" in name for name in task.feature_names)


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
def test_a_file_says_which_rows_are_which(table: Any, frame: pd.DataFrame, name: str) -> None:
    """In any order; rows that it does not name are left out."""
    rows = pd.DataFrame({"row": [8, 3, 50, 51, 52, 4], "split": ["test", "train", "train", "train", "val", "test"]})
    rows.to_csv(name, index=False) if name.endswith("csv") else rows.to_parquet(name)
    assert rows_of(table(frame, split=name, drop=["part"])) == [[3, 50, 51], [52], [4, 8]]


def test_classes_are_those_of_the_rows_that_a_file_names(table: Any, frame: pd.DataFrame) -> None:
    """A class of other rows, however rare, is none of the task."""
    frame["price"] = np.where(frame.index == 70, "rare", np.where(frame.index % 2, "odd", "even"))
    pd.DataFrame({"row": range(12), "split": [*["train"] * 6, *["val"] * 3, *["test"] * 3]}).to_csv("rows.csv")
    assert table(frame, split="rows.csv", drop=["part"]).classes == ["even", "odd"]


@pytest.mark.parametrize(("val_size", "count"), [(10, 10), (0.25, 15), (None, 30)])
def test_validation_rows_are_cut_from_the_training_rows(
    table: Any, frame: pd.DataFrame, val_size: Any, count: Any
) -> None:
    """A number, a fraction of the training rows, or half of them; the seed of the split says which."""
    frame["part"] = np.where(np.arange(ROWS) % 3, "train", "test")
    first, again, other = (table(frame, split="part", val_size=val_size, split_seed=seed) for seed in (1, 1, 2))
    train, val, test = rows_of(first)
    assert (len(val), sorted(train + val), test) == (count, named(frame, "train"), named(frame, "test"))
    assert rows_of(again) == rows_of(first) != rows_of(other)


def test_folds_are_cut_from_the_training_rows(table: Any, frame: pd.DataFrame) -> None:
    """Of a split without validation rows."""
    frame["part"] = np.where(np.arange(ROWS) % 3, "train", "test")
    tasks = [rows_of(table(frame, split="part", folds=3, fold=fold)) for fold in (0, 1, 2)]
    assert sorted(row for _, val, _ in tasks for row in val) == named(frame, "train")
    assert all(test == named(frame, "test") for _, _, test in tasks)


@given(moments=st.lists(st.integers(0, 60), min_size=30, max_size=90), left_out=st.integers(0, 6))
def test_the_past_trains_and_the_latest_rows_test(moments: Any, left_out: Any) -> None:
    """Each moment of a split is before each moment of the next: equal ones stay together; the earliest are left out."""
    rows = len(moments) - left_out
    counts = [rows - 2 * (rows // 4), rows // 4, rows // 4]
    series = pd.Series(moments, name="day")
    try:
        parts = split_by_order(series, counts, str)
    except UsageError:
        assert series.value_counts().max() >= rows // 4
        return
    used = [series.to_numpy()[part] for part in parts]
    assert used[0].max() < used[1].min()
    assert used[1].max() < used[2].min()
    unused = np.setdiff1d(np.arange(len(moments)), np.concatenate(parts))
    assert not len(unused) or series[unused].max() < used[0].min()
    for part, count in zip(parts, counts, strict=True):
        assert abs(len(part) - count) <= series.value_counts().max()


def test_a_column_of_dates_orders_a_table(table: Any, frame: pd.DataFrame) -> None:
    """It is no input, and the seed of the split changes nothing."""
    tasks = [table(frame, order_by="day", drop=["part"], split_seed=seed) for seed in (0, 1)]
    days = [frame["day"][rows] for rows in rows_of(tasks[0])]
    assert days[0].max() < days[1].min()
    assert days[1].max() < days[2].min()
    assert rows_of(tasks[0]) == rows_of(tasks[1])
    assert [len(part) for part in days] == [54, 18, 18]
    assert not any("day" in name for name in tasks[0].feature_names)


BAD_FILES = [
    ({"row": [1, 2, 1], "split": ["train", "test", "test"]}, r"but 1 \(line 4 of rows.csv\) is named twice"),
    (
        {"row": [1, 90], "split": ["train", "test"]},
        r"90 \(line 3 of rows.csv\) is not in the table, whose rows are 0 to",
    ),
    ({"row": [-1, 9], "split": ["train", "test"]}, r"-1 \(line 2 of rows.csv\) is not in the table"),
    ({"row": [7, 9], "split": ["train", "test"]}, r"names row 7 \(line 2 of rows.csv\), which has no target"),
    ({"row": [1, 9], "split": ["train", "hold"]}, r"in every row, but line 3 of rows.csv holds 'hold'"),
    ({"row": [1, 9], "split": ["train", "train"]}, r"must name rows for test, but names none"),
    ({"row": [1.5, 9], "split": ["train", "test"]}, r"must have whole numbers in its column row"),
    (
        {"rows": [1, 9], "split": ["train", "test"]},
        r"must have the columns row and split, but lacks row. Columns: rows",
    ),
]


@pytest.mark.parametrize(("content", "message"), BAD_FILES)
def test_a_bad_file_of_rows_is_one_clear_line(table: Any, frame: pd.DataFrame, content: Any, message: Any) -> None:
    frame.loc[7, "price"] = None
    pd.DataFrame(content).to_csv("rows.csv", index=False)
    with pytest.raises(UsageError, match=message) as raised:
        table(frame, split="rows.csv")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"split": "nowhere.csv"}, r"dataset.split=nowhere.csv must be a file or a column of the table"),
        ({"split": "parts"}, r"dataset.split must name columns, but parts are none. Columns: x, colour"),
        ({"split": "colour"}, r"dataset.split=colour must say train, .* but line 2 holds 'green'. Correct it"),
        ({"split": "part", "max_rows": 50}, r"dataset.max_rows=50 draws rows, but dataset.split=part names them"),
        ({"split": "part", "test_size": 9}, r"dataset.test_size=9 has no effect beside dataset.split=part"),
        ({"split": "part", "val_size": 0.5}, r"dataset.val_size=0.5 has no effect beside dataset.split=part"),
        ({"split": "part", "protocol": "psilon"}, r"dataset.protocol=psilon sets the sizes"),
        (
            {"split": "part", "folds": 3, "fold": 0},
            r"but dataset.split=part names 30 of its own. Name them train, or let cv and",
        ),
        ({"order_by": "colour"}, r"dataset.order_by=colour must hold dates or numbers, but holds 'green'"),
        ({"order_by": "days"}, r"dataset.order_by must name columns, but days are none"),
        ({"order_by": "day", "folds": 3, "fold": 0}, r"dataset.order_by=day splits .* and dataset.folds=3 in another"),
        ({"order_by": "day", "group": "x"}, r"dataset.order_by=day splits .* and dataset.group=x in another"),
        ({"order_by": "day", "split": "part"}, r"dataset.order_by=day splits .* and dataset.split=part in another"),
    ],
)
def test_bad_requests_are_one_clear_line(table: Any, values: Any, message: Any) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        table(**values)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("day", {"order_by": "day"}, r"must have a value in every row, but has none in line 5 \(and 1 more\)"),
        ("part", {"split": "part"}, r"must say train, .* but line 5 is empty"),
    ],
)
def test_a_missing_cell_is_named(table: Any, frame: pd.DataFrame, column: Any, values: Any, message: Any) -> None:
    frame.loc[[3, 8], column] = None
    with pytest.raises(UsageError, match=message):
        table(frame, **values)


@pytest.fixture
def identity(config: Any, frame: pd.DataFrame) -> Any:
    """identity("dataset.split=part"): fingerprint and checksum of a run on the table."""

    def identity(*asked: str) -> Any:
        frame.to_csv("my.csv", index=False)
        made = config("dataset=table", "dataset.path=my.csv", "dataset.target=price", *asked)
        return made.with_data(load_task(made.dataset.text()).checksum).identity

    return identity


def test_a_file_of_rows_counts_by_its_content(identity: Any) -> None:
    """Never by its name."""
    rows = pd.DataFrame({"row": range(30), "split": ["train"] * 20 + ["val"] * 5 + ["test"] * 5})
    rows.to_csv("a.csv", index=False)
    rows.to_csv("b.csv", index=False)
    first, copy = identity("dataset.split=a.csv"), identity("dataset.split=b.csv")
    assert first == copy
    rows.assign(row=rows["row"] + 1).to_csv("b.csv", index=False)
    other = identity("dataset.split=b.csv")
    assert (other.fingerprint, other.data != first.data) == (first.fingerprint, True)


FOLDS = "dataset.folds=3", "dataset.fold=all"
SAME = [  # a configuration, and one more setting that determines nothing beside it
    (("dataset.order_by=day", "dataset.drop=[part]", "seed=0"), "dataset.split_seed=9"),
    (FOLDS, "dataset.folds=9"),
    (FOLDS, "dataset.repeat=2"),
]


@pytest.mark.parametrize(("asked", "more"), SAME)
def test_what_determines_nothing_changes_no_identity(identity: Any, asked: Any, more: Any) -> None:
    """The rows prove it: they are the same ones."""
    assert identity(*asked) == identity(*asked, more)


@pytest.mark.parametrize("more", ["dataset.fold=1", "dataset.repeat=1", "dataset.folds=4", "dataset.fold=all"])
def test_each_fold_is_a_run_of_its_own(identity: Any, more: Any) -> None:
    asked = "dataset.folds=3", "dataset.fold=0"
    assert identity(*asked).fingerprint != identity(*asked, more).fingerprint


def test_a_run_without_folds_does_not_know_of_them(config: Any) -> None:
    """The fingerprint holds none of their settings, so earlier records are found again."""
    for dataset in ("table", "openml", "wine", "higgs"):
        values = config(f"dataset={dataset}").determining()["dataset"]
        assert not {"folds", "fold", "repeat", "splits", "test_fold", "test_repeat", "order_by"} & set(values)


def test_all_folds_share_a_table(load: Any, frame: pd.DataFrame) -> None:
    """It is read once, and each of its rows validates once or tests."""
    frame.drop(columns="part").to_csv("my.csv", index=False)
    cache.raw.clear()
    tasks = [load("table", path="my.csv", target="price", folds=4, fold=fold) for fold in range(4)]
    assert len(cache.raw) == 1
    rows = torch.cat([*(task.val.rows for task in tasks), tasks[0].test.rows])
    assert sorted(rows.tolist()) == list(range(ROWS))
