"""The fitted transformer: train rows alone decide, holes and levels are handled, new raw rows can be read."""

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from psilon_bench.data import targets
from psilon_bench.data.fit_preprocessing import constant_columns
from psilon_bench.data.form import Form
from psilon_bench.data.raw_columns import as_number
from psilon_bench.data.tabular import RawTable, TaskOptions, make_task
from psilon_bench.data.task import Task
from psilon_bench.errors import UsageError


def raw(frame: pd.DataFrame, regression: bool = True, **more: Any) -> RawTable:
    inputs = frame.drop(columns="price")
    levels = [c for c in inputs if not pd.api.types.is_numeric_dtype(inputs[c])]
    return RawTable("people", frame, "price", regression, levels, "here", "none", "0", **more)


def options(**more: Any) -> TaskOptions:
    values: dict[str, Any] = {"sizes": [0.5, 0.25, 0.25], "max_rows": None, "split_seed": 3, **more}
    return TaskOptions(**values)


def transformed(task: Task, frame: pd.DataFrame) -> np.ndarray:
    """New raw rows, read by the task's fitted transformer."""
    fitted: Any = task.preprocessing
    return fitted.transform(frame)


def test_training_rows_are_standardised_and_the_others_only_nearly(people: Any) -> None:
    task = make_task(raw(people.drop(columns="id")), options())
    place = task.feature_names.index("age")
    x = task.train.x[:, place]
    torch.testing.assert_close(x.mean(), torch.tensor(0.0), atol=1e-6, rtol=0)
    torch.testing.assert_close(x.std(correction=0), torch.tensor(1.0))
    assert abs(task.val.x[:, place].mean()) > 1e-4


def test_nothing_outside_the_training_rows_changes_the_inputs(people: Any) -> None:
    """Other values in val and test rows leave the training inputs and the target's scale as they were."""
    frame = people.drop(columns="id")
    task = make_task(raw(frame), options())
    used = np.sort(_rows_of(task, frame))
    spoiled = frame.copy()
    others = np.setdiff1d(np.arange(len(frame)), used)
    spoiled.loc[others, ["age", "price"]] *= 100
    spoiled.loc[others, "colour"] = "violet"
    again = make_task(raw(spoiled), options())
    torch.testing.assert_close(again.train.x, task.train.x)
    torch.testing.assert_close(again.train.y, task.train.y)
    assert again.feature_names == task.feature_names
    assert (again.target_center, again.target_scale) == (task.target_center, task.target_scale)


def _rows_of(task: Any, frame: Any) -> Any:
    prices = task.train.y.ravel().double() * task.target_scale + task.target_center
    return np.flatnonzero(frame["price"].round(3).isin(prices.round(decimals=3).tolist()))


def test_holes_get_the_median_and_an_indicator(people: Any) -> None:
    task = make_task(raw(people[["age", "income", "price"]]), options())
    assert task.feature_names == ["age", "income", "missingindicator_income"]
    holes = task.train.x[:, 2] > 0
    assert 0 < holes.sum() < len(task.train) / 2
    assert len(task.train.x[holes][:, 1].unique()) == 1


def test_levels_become_columns_and_unseen_ones_zeros(people: Any) -> None:
    task = make_task(raw(people[["age", "colour", "price"]]), options())
    assert task.feature_names == ["age", "colour=blue", "colour=green", "colour=red", "colour=missing"]
    assert set(task.train.x[:, 1:].unique().tolist()) == {0.0, 1.0}
    assert (task.train.x[:, 1:].sum(1) == 1).all()
    new = transformed(task, pd.DataFrame({"age": [30.0], "colour": ["violet"]}))
    assert new[0, 1:].tolist() == [0, 0, 0, 0]


def test_codes_are_one_standardised_column(people: Any) -> None:
    task = make_task(raw(people[["age", "colour", "price"]]), options(encoding="codes"))
    assert task.feature_names == ["age", "colour", "missingindicator_colour"]
    torch.testing.assert_close(task.train.x[:, 1].std(correction=0), torch.tensor(1.0))
    new = pd.DataFrame({"age": [30.0, 30.0, 30.0, 30.0], "colour": ["blue", "green", "red", "violet"]})
    blue, green, red, violet = transformed(task, new)[:, 1]
    assert blue < green < red
    assert np.isclose(red - green, green - blue)
    assert violet in (blue, green, red)  # unseen counts as missing: the median


def test_codes_of_numbers_are_in_their_order() -> None:
    """1, 2, 10, 11 and then text."""
    frame = pd.DataFrame({"a": ["10", "2", "x", "1", "11"] * 20, "price": np.arange(100.0)})
    task = make_task(raw(frame), options(encoding="codes"))
    codes = transformed(task, pd.DataFrame({"a": ["1", "2", "10", "11", "x"]}))[:, 0]
    np.testing.assert_allclose(np.diff(codes), codes[1] - codes[0], rtol=1e-9)
    assert codes[1] > codes[0]


def test_numbers_of_any_source_are_finite(task: Any) -> None:
    """Whichever split holds the other, inputs or targets: it is told before anything is trained."""
    made = task("regression")
    for name in ("train", "val", "test", "extra"):
        for what in ("x", "y"):
            split = made.val if name == "extra" else getattr(made, name)
            values = getattr(split, what).clone()
            values[2, 0] = float("nan")
            spoiled = replace(split, **{what: values})
            changed = {"extra_tests": {"extra": spoiled}} if name == "extra" else {name: spoiled}
            with pytest.raises(UsageError, match=rf"but the .* of made up are not in {name} row 3\. Correct the data"):
                replace(made, **changed)


def test_levels_of_classes_that_no_row_has_are_none(people: Any) -> None:
    """A categorical target may come with more levels than the rows at hand have, of any source."""
    target = pd.Categorical(["x", "z"] * 60, categories=["x", "y", "z"])
    task = make_task(raw(people[["age", "price"]].assign(price=target), regression=False), options())
    assert (task.kind, task.classes) == ("binary", ["x", "z"])


def test_levels_are_text_whatever_their_type() -> None:
    frame = pd.DataFrame({"a": pd.Categorical([3, 1, 3, 1] * 5), "price": np.arange(20.0)})
    task = make_task(raw(frame), options())
    assert task.feature_names == ["a=1", "a=3"]
    assert transformed(task, pd.DataFrame({"a": ["3"]})).tolist() == [[0, 1]]


def test_constant_columns_are_dropped_and_named(people: Any) -> None:
    task = make_task(raw(people[["age", "planet", "price"]]), options())
    assert task.feature_names == ["age"]
    assert "dropped constant columns: planet" in task.notes


def test_the_transformer_survives_pickling_and_ignores_other_columns(people: Any) -> None:
    task = make_task(raw(people.drop(columns="id")), options())
    again = pickle.loads(pickle.dumps(task.preprocessing))
    np.testing.assert_array_equal(again.transform(people), transformed(task, people))
    assert again.transform(people).shape == (len(people), task.num_features)


def test_only_numbers_or_only_levels_work() -> None:
    y = np.arange(20.0)
    assert make_task(raw(pd.DataFrame({"a": y, "price": y})), options()).num_features == 1
    for encoding, features in (("onehot", 2), ("codes", 1)):
        frame = pd.DataFrame({"a": list("uv") * 10, "price": y})
        assert make_task(raw(frame), options(encoding=encoding)).num_features == features


def test_regression_targets_are_in_units_of_half_the_iqr(people: Any) -> None:
    task = make_task(raw(people[["age", "price"]]), options())
    low, middle, high = task.train.y.quantile(torch.tensor([0.25, 0.5, 0.75]))
    torch.testing.assert_close(middle, torch.tensor(0.0), atol=1e-6, rtol=0)
    torch.testing.assert_close(high - low, torch.tensor(2.0))
    assert task.train.y.shape == (60, 1)


def test_a_target_with_zero_iqr_still_has_a_scale() -> None:
    y = np.array([5.0] * 90 + [6.0] * 10)
    center, scale = targets.robust_scale(y)
    assert center == 5.0
    assert scale == pytest.approx(0.6745 * 0.3)
    assert targets.robust_scale(np.full(5, 2.0)) == (2.0, 1.0)


def test_normal_targets_have_the_scale_of_the_fallback() -> None:
    y = np.random.default_rng(0).normal(3, 7, 200_000)
    assert targets.robust_scale(y)[1] == pytest.approx(0.6745 * 7, rel=0.01)


def test_classes_are_in_natural_order() -> None:
    codes, classes = targets.class_codes(pd.Series(["10", "2", "1", "2"]))
    assert (codes.tolist(), classes) == ([2, 1, 0, 1], ["1", "2", "10"])
    assert targets.class_codes(pd.Series([1.0, 0.0]))[1] == ["0", "1"]
    assert targets.class_codes(pd.Series(["no", "yes", "no"]))[0].tolist() == [0, 1, 0]


def test_rows_without_a_target_are_left_out_and_counted(people: Any) -> None:
    people.loc[[3, 4], "price"] = None
    task = make_task(raw(people[["age", "price"]]), options())
    assert "left out 2 rows without a target" in task.notes
    assert len(task.train) + len(task.val) + len(task.test) == 118


def test_groups_are_kept_whole_and_no_input(people: Any) -> None:
    frame = people.drop(columns="id")
    task = make_task(raw(frame, group="house"), options(sizes=[0.6, 0.2, 0.2]))
    assert "house" not in task.feature_names
    assert len(task.train) % 5 == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"age": np.inf}, r"finite, but column 'age' has 120 infinite values"),
        ({"age": np.nan}, r"must hold values, but age are missing throughout. Remove with dataset.drop=\[age\]"),
        ({"price": 7.0}, r"two values or more, but 'price' has one only \(7.0\)"),
        ({"price": [np.inf] + [1.0] * 119}, r"target must be finite, but 'price' is infinite in row 1"),
        ({"planet": [f"planet {i}" for i in range(120)]}, r"must be categories, but 'planet' has 120 different values"),
    ],
)
def test_bad_columns_are_refused(people: Any, change: Any, message: Any) -> None:
    with pytest.raises(UsageError, match=message):
        make_task(raw(people.drop(columns="id").assign(**change)), options())


def test_rare_classes_are_refused(people: Any) -> None:
    frame = people[["age", "price"]].assign(price=["a"] * 60 + ["b"] * 58 + ["c"] * 2)
    with pytest.raises(UsageError, match=r"a row in each of the 3 splits, but 'price' has 2 of class 'c'"):
        make_task(raw(frame, regression=False), options())


def test_training_rows_must_hold_every_class(people: Any) -> None:
    frame = people[["age", "price"]].assign(price=[f"class {i % 20}" for i in range(120)])
    with pytest.raises(UsageError, match=r"hold every class, but 10 rows of people miss some of the 20"):
        make_task(raw(frame, regression=False), options(sizes=[10, 50, 50]))


def test_all_inputs_constant_is_refused(people: Any) -> None:
    with pytest.raises(UsageError, match="Some input column must vary"):
        make_task(raw(people[["planet", "price"]]), options())
    with pytest.raises(UsageError, match="at least one input column"):
        make_task(raw(people[["price"]]), options())


def test_feature_names_may_look_alike() -> None:
    """A number named like a level of another column must not break anything."""
    frame = pd.DataFrame({"a=u": np.arange(20.0), "a": list("uv") * 10, "price": np.arange(20.0)})
    assert make_task(raw(frame), options()).feature_names == ["a=u", "a=u", "a=v"]


def test_constant_columns_sees_holes() -> None:
    frame = pd.DataFrame({"a": [1.0, None], "b": [1.0, 1.0], "c": [None, None]})
    assert constant_columns(frame) == ["b", "c"]


def test_floats_are_read_like_any_other_columns() -> None:
    """A table of floats alone, with holes and words that count as missing: the same numbers, in the same order."""
    values = np.array([[1.5, -999, np.nan], [0.0, 7, np.nan], [-0.0, 7, np.nan], [2.5, np.inf, np.nan]])
    floats = pd.DataFrame(values, columns=["a", "b", "c"], index=[7, 3, 5, 1])
    mixed = floats.assign(d=["1", "2", "3", "?"])
    for form in (Form(), Form(missing=(-999, "7"))):
        fast, slow = as_number(floats, form), as_number(mixed, form)[:, :3]
        assert fast.tobytes() == slow.tobytes()
        assert fast.flags.c_contiguous  # sums over rows are rounded in this order
    assert np.isnan(as_number(floats, Form(missing=(-999, "7")))[:3, 1]).all()
    slow_constant = [name for name in floats if floats[name].nunique(dropna=False) <= 1]
    assert constant_columns(floats) == slow_constant == ["c"]
    assert constant_columns(floats.iloc[1:3]) == ["a", "b", "c"]  # 0 and -0 are one number
    assert constant_columns(floats[["b", "a"]].iloc[:0]) == ["b", "a"]
