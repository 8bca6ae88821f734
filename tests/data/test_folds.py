"""k folds: over all of them each row validates once, the test rows stay as they were, classes and groups are kept."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from psilon_bench.data.folds import Folds
from psilon_bench.data.split import resolve_sizes, split_rows
from psilon_bench.errors import UsageError

SIZES = [0.6, 0.2, 0.2]


def parts_of(rows: int, labels: Any = None, groups: Any = None) -> Any:
    """Training, validation and test rows without folds."""
    return split_rows(rows, resolve_sizes(rows, SIZES), 3, labels, groups)


def all_folds(count: int, parts: Any, labels: Any = None, groups: Any = None, repeat: int = 0) -> Any:
    """(training, validation, test) rows of each fold."""
    classes = [] if labels is None else [f"class {c}" for c in range(int(labels.max()) + 1)]
    return [Folds(count, fold, repeat).cut(parts, 3, labels, groups, classes) for fold in range(count)]


def check_partition(folds: Any, parts: Any) -> None:
    """Each row that is no test row validates once and trains in all other folds; test rows are bit for bit the same."""
    rest = np.sort(np.concatenate(parts[:2]))
    assert np.array_equal(np.sort(np.concatenate([val for _, val, _ in folds])), rest)
    for train, val, test in folds:
        assert np.array_equal(np.sort(np.concatenate([train, val])), rest)
        assert np.array_equal(test, parts[2])


@given(rows=st.integers(20, 150), count=st.integers(2, 7), classes=st.integers(0, 3), seed=st.integers(0, 9))
def test_folds_are_a_partition_of_equal_parts(rows: Any, count: Any, classes: Any, seed: Any) -> None:
    """Sizes differ by one row at most, and so do those of each class."""
    labels = np.random.default_rng(seed).permutation(np.arange(rows) % classes) if classes else None
    parts = parts_of(rows, labels)
    if labels is not None and np.bincount(labels[np.concatenate(parts[:2])]).min() < count:
        return
    folds = all_folds(count, parts, labels)
    check_partition(folds, parts)
    assert np.ptp([len(val) for _, val, _ in folds]) <= 1
    for c in range(classes):
        assert labels is not None
        assert np.ptp([(labels[val] == c).sum() for _, val, _ in folds]) <= 1


@pytest.mark.parametrize("labels", [None, np.arange(200) // 8 % 2])
def test_groups_stay_whole(labels: Any) -> None:
    """Of regressions and of classes: no group validates in one fold and trains in the same."""
    groups = np.arange(200) // 4
    parts = parts_of(200, labels, groups)
    folds = all_folds(5, parts, labels, groups)
    check_partition(folds, parts)
    assert all(not set(groups[train]) & set(groups[val]) for train, val, _ in folds)


def test_another_repeat_is_another_partition() -> None:
    """Of the same rows."""
    parts = parts_of(100)
    first, second = (all_folds(4, parts, repeat=repeat) for repeat in (0, 1))
    check_partition(second, parts)
    assert all(set(a[1]) != set(b[1]) for a in first for b in second)


@pytest.mark.parametrize("values", [{}, {"train_size": None, "val_size": None}, {"max_rows": 99}])
def test_folds_of_a_task_keep_its_test_rows(load: Any, values: Any) -> None:
    """Inputs too, up to the scale that is fitted on other training rows; row numbers say which rows they are."""
    plain = load("wine", split_seed=4, **values)
    tasks = [load("wine", split_seed=4, folds=4, fold=fold, **values) for fold in (0, 1, 2, 3, "all")]
    validated = torch.cat([task.val.rows for task in tasks])
    assert sorted(validated.tolist()) == sorted([*plain.train.rows.tolist(), *plain.val.rows.tolist()])
    for task in tasks:
        assert torch.equal(task.test.rows, plain.test.rows)
        assert torch.equal(task.test.y, plain.test.y)
    assert len(tasks[-1].val) == 0
    assert tasks[-1].val.x.shape[1] == tasks[-1].num_features
    assert sorted(tasks[-1].train.rows.tolist()) == sorted(validated.tolist())


@pytest.mark.parametrize("test_size", [0.1, 0.3, 40])
def test_folds_are_cut_from_all_rows_but_those_of_the_test(load: Any, test_size: Any) -> None:
    """Whatever the usual sizes of training and validation rows are, and in a refit too."""
    tasks = [load("wine", test_size=test_size, folds=3, fold=fold) for fold in (0, 1, 2, "all")]
    expected = test_size if isinstance(test_size, int) else round(test_size * 178)
    for task in tasks:
        assert len(task.test) == expected
        assert len(task.train) + len(task.val) + len(task.test) == 178


def test_row_numbers_are_those_of_the_table(load: Any, people: pd.DataFrame) -> None:
    """Rows that are left out, for lack of a target, are counted too."""
    people.loc[[3, 50], "price"] = None
    people.drop(columns=["id", "planet"]).to_csv("people.csv", index=False)
    task = load("table", path="people.csv", target="price", group="house", folds=4, fold=1)
    for split in (task.train, task.val, task.test):
        raw = task.target_center + task.target_scale * split.y.flatten().double().numpy()
        assert people["price"].to_numpy()[split.rows.numpy()] == pytest.approx(raw, abs=1e-5)
    assert not {3, 50} & {int(row) for split in (task.train, task.val, task.test) for row in split.rows}
    houses = [set(people["house"].to_numpy()[split.rows.numpy()]) for split in (task.train, task.val, task.test)]
    assert len(set.union(*houses)) == sum(map(len, houses))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"folds": 1, "fold": 0}, r"dataset.folds=1 is not valid: it should be greater than or equal to 2"),
        ({"folds": 5, "fold": -1}, r"dataset.fold=-1 is not valid: it should be"),
        ({"folds": 5}, r"dataset.fold=null. Sweep over dataset.fold=0,1,2,3,4, or set dataset.fold=all"),
        ({"folds": 5, "fold": 5}, r"dataset.fold=5 is none of the folds of dataset.folds=5: it should be 0 to 4"),
        ({"fold": "all"}, r"dataset.fold=all needs folds, but dataset.folds=null. Set dataset.folds=5"),
        ({"repeat": 2}, r"dataset.repeat=2 needs folds"),
        ({"folds": 5, "fold": 0, "val_size": 0.1}, r"dataset.val_size=0.1 has no effect beside dataset.folds=5"),
        ({"folds": 5, "fold": 0, "train_size": 9}, r"dataset.train_size=9 has no effect beside dataset.folds=5"),
        ({"folds": 70, "fold": 0}, r"=70 folds needs a row of the largest class, but .* hold 57. Set .* at most 57"),
        ({"folds": 143, "fold": 0, "max_rows": 50}, r"=143 folds needs a row, but the 40 rows .* at most 40"),
    ],
)
def test_impossible_folds_are_one_clear_line(load: Any, values: Any, message: Any) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        load("wine", **values)
    assert "\n" not in str(raised.value)


def test_a_class_may_be_rarer_than_folds(load: Any) -> None:
    """It trains in every fold, and some validate without it; one row alone would not train where it validates."""
    rows = [f"{i % 7},{i * i % 11},{'rare' if i < 4 else 'ab'[i % 2]}" for i in range(60)]
    Path("rare.csv").write_text("\n".join(["x,z,target", *rows]), encoding="utf-8")
    tasks = [load("table", path="rare.csv", folds=6, fold=fold, split_seed=1) for fold in range(6)]
    number = tasks[0].classes.index("rare")
    counts = [[int((split.y == number).sum()) for split in (task.train, task.val)] for task in tasks]
    there = sum(counts[0])
    assert 2 <= there < 6
    assert sorted(val for _, val in counts) == [0] * (6 - there) + [1] * there
    assert all(train == there - val for train, val in counts)
    parts, labels = (
        [np.arange(40), np.arange(40, 50), np.arange(50, 60)],
        np.where(np.arange(60) > 48, 2, np.arange(60) % 2),
    )
    with pytest.raises(UsageError, match=r"=6 needs two rows of each class, .* 50 rows .* hold 1 of class 'class 2'"):
        all_folds(6, parts, labels)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (np.arange(60) // 20, r"=5 folds needs a whole group, but the 40 rows that are not test rows make 2"),
        (np.minimum(np.arange(60), 2), r"=5 folds needs a whole group"),
    ],
)
def test_too_few_groups_are_refused(groups: Any, message: Any) -> None:
    with pytest.raises(UsageError, match=message):
        all_folds(5, [np.arange(30), np.arange(30, 40), np.arange(40, 60)], None, groups)


def test_a_protocol_and_folds_are_one_clear_line(load: Any) -> None:
    with pytest.raises(UsageError, match=r"dataset.protocol=psilon sets the sizes .* dataset.folds=5 does as well"):
        load("table", path="my.csv", protocol="psilon", folds=5, fold=0)
