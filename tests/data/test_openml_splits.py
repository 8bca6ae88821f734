"""OpenML's own splits: the rows of a task's repeat and fold arrive as they were served, and are cut further."""

from typing import Any

import pytest

from psilon_bench.data import openml_splits
from psilon_bench.errors import UsageError


def rows_of(task: Any) -> Any:
    return [sorted(split.rows.tolist()) for split in (task.train, task.val, task.test)]


@pytest.mark.parametrize(("repeat", "fold"), [(0, 0), (0, 2), (1, 1)])
def test_rows_are_those_of_the_task(server: Any, load: Any, repeat: int, fold: int) -> None:
    """Validation rows are cut from the task's training rows, by size or by folds."""
    train, test = server.splits[2][repeat, fold]
    own = {"task_id": 2, "splits": "openml", "test_repeat": repeat, "test_fold": fold}
    task = load("openml", **own, val_size=20)
    assert len(task.val) == 20
    assert sorted(rows_of(task)[0] + rows_of(task)[1]) == sorted(train)
    assert rows_of(task)[2] == sorted(test)
    folds = [rows_of(load("openml", **own, folds=3, fold=number)) for number in range(3)]
    assert sorted(row for _, val, _ in folds for row in val) == sorted(train)
    assert all(rows[2] == sorted(test) for rows in folds)


def test_splits_are_fetched_once_and_part_of_the_identity(server: Any, load: Any) -> None:
    """The data alone have another checksum."""
    own = load("openml", task_id=2, splits="openml", val_size=9)
    asked = server.requests.total()
    again = load("openml", task_id=2, splits="openml", val_size=9, test_fold=1, offline=True)
    assert server.requests.total() == asked
    assert own.checksum == again.checksum != load("openml", task_id=2).checksum


@pytest.mark.parametrize("fault", ["error", "cut"])
def test_a_passing_fault_is_outlived(server: Any, load: Any, fault: Any) -> None:
    server.faults = [("/splits/2", fault)]
    assert len(load("openml", task_id=2, splits="openml", val_size=9).val) == 9
    assert server.faults == []
    assert openml_splits.obtain_splits(2, offline=True).about["folds"] == 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"task_id": 1, "splits": "openml"}, r"OpenML task 1 has no splits. Set dataset.splits=null"),
        ({"task_id": 2, "splits": "openml", "test_fold": 3}, r"test_fold=3 is none of the folds .* task 2: .* 0 to 2"),
        ({"task_id": 2, "splits": "openml", "test_repeat": 2}, r"test_repeat=2 is none of the repeats of .* 0 to 1"),
        (
            {"data_id": 2, "splits": "openml"},
            r"dataset.splits=openml are the splits of a task, but dataset.task_id=null",
        ),
        ({"task_id": 2, "test_fold": 1}, r"test_fold=1 is of OpenML's splits, but dataset.splits=null"),
        (
            {"task_id": 2, "splits": "openml", "protocol": "psilon"},
            r"protocol=psilon sets .*splits=openml does as well",
        ),
        (
            {"task_id": 2, "splits": "openml", "train_size": 9},
            r"train_size=9 has no effect beside dataset.splits=openml",
        ),
        ({"task_id": 2, "splits": "other"}, r"dataset.splits='other' is not valid: it should be 'openml'"),
        ({"task_id": 2, "order_by": "hues"}, r"dataset.order_by must name columns, but hues are none"),
    ],
)
def test_bad_requests_are_one_clear_line(server: Any, load: Any, values: Any, message: Any) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        load("openml", **values)
    assert "\n" not in str(raised.value)


def test_offline_says_what_to_run(server: Any, load: Any) -> None:
    load("openml", task_id=2)
    with pytest.raises(UsageError, match=r"splits/2 is not\. Run `psilon-data fetch openml --splits 2` with a network"):
        load("openml", task_id=2, splits="openml", offline=True)


def test_a_column_orders_the_rows_of_a_data_set(server: Any, load: Any) -> None:
    """Trains on small values, tests on large ones; the column is no input."""
    task = load("openml", data_id=2, order_by="alcohol")
    alcohol = server.data[2].frame["alcohol"].to_numpy()
    train, val, test = (alcohol[rows] for rows in rows_of(task))
    assert train.max() < val.min() <= val.max() < test.min()
    assert "alcohol" not in task.feature_names
