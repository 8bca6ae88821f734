"""Splits: disjoint, of the size asked for, the same for a seed, in the classes' proportions, groups kept whole."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from psilon_bench.data.split import apportion, resolve_sizes, split_rows
from psilon_bench.errors import UsageError

sizes = st.one_of(st.none(), st.integers(1, 40), st.floats(0.05, 0.6))


@given(
    rows=st.integers(10, 300), asked=st.tuples(sizes, sizes, sizes), max_rows=st.one_of(st.none(), st.integers(9, 99))
)
def test_sizes_are_exact_or_refused(rows: Any, asked: Any, max_rows: Any) -> None:
    total = min(rows, max_rows or rows)
    try:
        counts = resolve_sizes(rows, asked, max_rows)
    except UsageError:
        return
    assert min(counts) >= 1
    assert sum(counts) <= total
    assert [c for c, s in zip(counts, asked, strict=True) if isinstance(s, int)] == [
        s for s in asked if isinstance(s, int)
    ]
    if None in asked:
        assert sum(counts) == total


@pytest.mark.parametrize("rows", range(20, 60))
def test_fractions_that_add_up_to_one_use_every_row(rows: Any) -> None:
    assert sum(resolve_sizes(rows, [0.6, 0.2, 0.2])) == rows


def test_protocol_halves_what_the_training_rows_leave() -> None:
    assert resolve_sizes(30_000, [2000, None, None], 20_000) == [2000, 9000, 9000]
    assert resolve_sizes(2101, [2000, None, None], 20_000) == [2000, 51, 50]


@given(
    labels=st.lists(st.integers(0, 4), min_size=30, max_size=200).map(np.array),
    fractions=st.tuples(st.floats(0.2, 0.5), st.floats(0.1, 0.25), st.floats(0.1, 0.25)),
    seed=st.integers(0, 9),
)
def test_stratified_parts_are_disjoint_exact_and_proportional(labels: Any, fractions: Any, seed: Any) -> None:
    counts = resolve_sizes(len(labels), fractions)
    parts = split_rows(len(labels), counts, seed, labels)
    assert [len(p) for p in parts] == counts
    assert len(np.unique(np.concatenate(parts))) == sum(counts)
    again = split_rows(len(labels), counts, seed, labels)
    assert all((a == b).all() for a, b in zip(parts, again, strict=True))
    sizes = dict(zip(*np.unique(labels, return_counts=True), strict=True))
    rare = sum(size < 12 for size in sizes.values())  # in a part a row of each may stand for less than a row
    for c, size in sizes.items():
        if size >= 12:  # large enough for a row in each part without a floor of one
            for part, count in zip(parts, counts, strict=True):
                assert abs((labels[part] == c).sum() - size * count / len(labels)) <= 1.5 + rare


@given(available=st.lists(st.integers(3, 90), min_size=1, max_size=8).map(np.array), data=st.data())
def test_apportionment_is_exact_and_leaves_a_row_for_later(available: Any, data: Any) -> None:
    count = data.draw(st.integers(len(available), int((available - 2).sum())))
    share = apportion(available, count, later=2)
    assert share.sum() == count
    assert (share >= 1).all()
    assert (available - share >= 2).all()


def test_a_rare_class_is_in_every_part() -> None:
    labels = np.array([0] * 500 + [1] * 3)
    assert [int((labels[p] == 1).sum()) for p in split_rows(503, [302, 101, 100], 0, labels)] == [1, 1, 1]


@given(groups=st.lists(st.integers(0, 30), min_size=80, max_size=150).map(np.array), seed=st.integers(0, 5))
def test_groups_stay_whole(groups: Any, seed: Any) -> None:
    assume(np.bincount(groups).max() < len(groups) / 8)  # a part of a quarter then gets at least one group
    parts = split_rows(len(groups), resolve_sizes(len(groups), [0.5, 0.25, 0.25]), seed, groups=groups)
    owners = [set(groups[p]) for p in parts]
    assert len(set.union(*owners)) == sum(map(len, owners))
    assert sum(map(len, parts)) == len(groups)
    largest = np.bincount(groups).max()
    assert abs(len(parts[0]) - len(groups) / 2) <= largest


def test_seeds_differ_and_rows_are_shuffled() -> None:
    first, second = (split_rows(100, [60, 20, 20], seed)[0] for seed in (0, 1))
    assert (first != second).any()
    assert (np.sort(first) != first).any()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ([90, 20, 20], r"must fit into the 100 rows there are, but train_size=90, val_size=20, test_size=20 make 130"),
        ([101, None, None], r"must fit into the 100 rows"),
        ([100, None, None], r"needs at least one row, but .* make 100/0/0"),
        ([0.001, 0.5, 0.4], r"needs at least one row, but train_size=0.001"),
        ([0.8, 0.2, 0.2], r"make 120"),
    ],
)
def test_impossible_sizes_are_refused(asked: Any, message: Any) -> None:
    with pytest.raises(UsageError, match=message):
        resolve_sizes(100, asked)


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(UsageError, match=r"at least one whole group, but 2 groups make .*finer column"):
        split_rows(100, [60, 20, 20], 0, groups=np.arange(100) // 50)
