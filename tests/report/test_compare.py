"""Across data sets: ranks, scores and tests by hand, on uneven and incomplete data."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_records import write_record
from scipy import stats

from psilon_bench.report import compare
from psilon_bench.report.compare import Across, across, interval, tables
from psilon_bench.report.grouping import groups_of
from psilon_bench.report.metric import chosen_by
from psilon_bench.report.records import scan
from psilon_bench.report.selection import choose

LOSS = chosen_by("val/loss", None)
ACCURACY = chosen_by("val/accuracy", None)
SCORES = pd.DataFrame(
    {"a": [0.1, 0.5, 30.0, 0.2], "b": [0.2, 0.5, 20.0, 0.4], "c": [0.4, 0.9, 10.0, 0.3]}, ["w", "x", "y", "z"]
)


def choices(folder: Any, metric: Any = LOSS) -> Any:
    return [choose(group, metric) for group in groups_of(scan([folder]).runs)[0]]


def by_name(found: Any, name: Any) -> Any:
    (table,) = [one for one in found if one.name == name]
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows], table.note


def write_scores(folder: Any, scores: Any, metric: Any = "test/loss", seeds: Any = 2) -> None:
    """Means of `seeds` runs equal the scores; validation says nothing."""
    for dataset, row in scores.iterrows():
        for method, value in row.dropna().items():
            for seed in range(seeds):
                shift = seed - (seeds - 1) / 2
                metrics = {metric: value + shift / 1000, metric.replace("test", "val"): 1.0}
                write_record(folder, 1e-3, seed, metrics, dataset=dataset, params={"model.name": method})


def test_ranks_and_scores_by_hand() -> None:
    """Ties share the mean rank; 1 is the best of a data set and 0 its worst, whatever the unit."""
    made = Across(LOSS, SCORES, [])
    assert made.ranks.to_numpy().tolist() == [[1, 2, 3], [1.5, 1.5, 3], [3, 2, 1], [1, 3, 2]]
    expected: list[list[float]] = [[1, 2 / 3, 0], [1, 1, 0], [0, 0.5, 1], [1, 0, 0.5]]
    np.testing.assert_allclose(made.normalised, expected, rtol=1e-12)
    upwards = Across(ACCURACY, SCORES, [])
    np.testing.assert_allclose(upwards.normalised, 1 - np.array(expected), atol=1e-12)
    assert upwards.ranks["a"].tolist() == [3, 2.5, 1, 3]


def test_accuracies_in_float32_are_ties() -> None:
    """229 of 300 rows are 229 of 300 rows, whether a network or a baseline counted them, but 230 are more."""
    row = {"network": float(np.float32(229 / 300)), "forest": 229 / 300, "other": 230 / 300}
    made = Across(ACCURACY, pd.DataFrame([row] * 3), [])
    assert made.ranks.mean().to_dict() == {"network": 2.5, "forest": 2.5, "other": 1}
    assert made.normalised.mean().to_dict() == {"network": 0, "forest": 0, "other": 1}
    assert made.nemenyi is not None
    assert made.nemenyi.loc["network", "forest"] == pytest.approx(1)
    assert made.friedman == pytest.approx(stats.chi2.sf(6, 2))  # ranks 1, 2.5, 2.5, with the correction for ties
    (pair,) = [row for row in compare.pairs_across(made).rows if "other" not in row[:2]]
    assert pair[2] == "0 / 3 / 0"


def test_all_equal_is_no_division_by_zero() -> None:
    """Every method scores 1, and no test finds a difference."""
    made = Across(LOSS, SCORES * 0 + 5, [])
    assert (made.normalised == 1).all(axis=None)
    assert made.friedman == 1.0


def test_friedman_by_its_formula() -> None:
    """chi^2 = 12 N / (k (k + 1)) * (sum of squared mean ranks - k (k + 1)^2 / 4), without ties (Demsar 2006, eq. 6)."""
    scores = SCORES.add([0.0, 0.001, 0.0])
    made = Across(LOSS, scores, [])
    n, k = scores.shape
    chi = 12 * n / (k * (k + 1)) * ((made.ranks.mean() ** 2).sum() - k * (k + 1) ** 2 / 4)
    assert made.friedman == pytest.approx(stats.chi2.sf(chi, k - 1), rel=1e-12)


def test_nemenyi_agrees_with_the_critical_difference() -> None:
    """Two methods differ at 5 % exactly where their mean ranks are further apart than the critical difference."""
    from psilon_bench.report.figures.critical_difference import critical_difference

    rng = np.random.default_rng(0)
    scores = pd.DataFrame(rng.normal(size=(12, 5)) + np.arange(5) * 0.7, columns=list("abcde"))
    made = Across(LOSS, scores, [])
    ranks, distance, nemenyi = made.ranks.mean(), critical_difference(made), made.nemenyi
    assert nemenyi is not None
    differ = [abs(ranks[a] - ranks[b]) > distance for a in "abcde" for b in "abcde"]
    assert [nemenyi.loc[a, b] < 0.05 for a in "abcde" for b in "abcde"] == differ
    assert True in differ
    assert False in differ


def test_tables_from_records(tmp_path: Path) -> None:
    """Wins, ties and losses counted; a data set that lacks a method is left out and named."""
    scores = SCORES.copy()
    scores.loc["v"] = [0.1, np.nan, 0.2]
    write_scores(tmp_path, scores)
    found = tables(choices(tmp_path), LOSS)
    ranks, note = by_name(found, "ranks")
    assert {row["method"]: row["mean rank"] for row in ranks} == {
        "a pathnorm": 1.625,
        "b pathnorm": 2.125,
        "c pathnorm": 2.25,
    }
    assert {row["method"]: row["alone first on"] for row in ranks} == {
        "a pathnorm": 2,
        "b pathnorm": 0,
        "c pathnorm": 1,
    }
    assert "on 4 data sets" in note
    assert note.endswith("Left out, for a method is missing there: v.")
    pairs, _ = by_name(found, "pairs_across")
    results = {(row["method"][0], row["against"][0]): row["wins / ties / losses"] for row in pairs}
    assert results == {("a", "b"): "2 / 1 / 1", ("a", "c"): "3 / 0 / 1", ("b", "c"): "2 / 0 / 2"}


def test_accuracy_is_compared_upwards(tmp_path: Path) -> None:
    """The most accurate is first, by test accuracy."""
    write_scores(tmp_path, SCORES, "test/accuracy")
    ranks, note = by_name(tables(choices(tmp_path, ACCURACY), ACCURACY), "ranks")
    assert ranks[-1]["method"] == "a pathnorm"
    assert note.startswith("By test/accuracy")


def test_two_methods_have_no_friedman_test(tmp_path: Path) -> None:
    """Said so, and no p."""
    write_scores(tmp_path, SCORES[["a", "b"]])
    found = tables(choices(tmp_path), LOSS)
    assert "needs three methods" in by_name(found, "ranks")[1]
    assert by_name(found, "pairs_across")[0][0]["Nemenyi p"] is None


def test_one_data_set_has_pairs_alone(tmp_path: Path) -> None:
    """Nothing across."""
    write_scores(tmp_path, SCORES[:1])
    assert [one.name for one in tables(choices(tmp_path), LOSS)] == ["pairs"]


def test_pairs_are_of_the_same_seeds(tmp_path: Path) -> None:
    """Differences of runs that share the seed; a seed that one lacks does not count."""
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=8), rng.normal(size=7)
    for method, values in (("a", a), ("b", b)):
        for seed, value in enumerate(values):
            params = {"model.name": method}
            write_record(tmp_path, 1e-3, seed, {"val/loss": 1.0, "test/loss": value}, params=params)
    ((row,), _) = by_name(tables(choices(tmp_path), LOSS), "pairs")
    assert row["n"] == 7
    assert row["test/loss"] == pytest.approx((a[:7] - b).mean(), rel=1e-12)


def test_the_interval_is_that_of_the_mean() -> None:
    """Of 200 normal numbers: near mean +- 1.96 standard errors; the same again; none for four numbers."""
    values = np.random.default_rng(2).normal(3.0, 2.0, size=200)
    error = values.std(ddof=1) / np.sqrt(200)
    found = interval(values)
    assert found is not None
    low, high = found
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)
    assert interval(values) == (low, high)
    assert interval(values[:4]) is None
    assert interval(np.full(6, 0.5)) == (0.5, 0.5)
    assert compare.interval_text(values[:4]) == "n < 5"


def test_nothing_to_compare(tmp_path: Path) -> None:
    """Runs without test numbers."""
    write_record(tmp_path, 1e-3, 0, {"val/loss": 1.0})
    found = choices(tmp_path)
    assert across(found, LOSS).scores.empty
    assert [one.rows for one in tables(found, LOSS)] == [[]]
