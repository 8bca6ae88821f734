"""Split conformal prediction holds its promise on exchangeable rows, by as much and no more than theory says."""

import math
from typing import Any

import numpy as np
import pytest

from psilon_bench.metrics import conformal

REPEATS = 2000
ERROR = 4 * math.sqrt(0.25 / REPEATS)  # four binomial standard errors


def covered(rows: int, k: int) -> float:
    """How often a new score is at most the k-th smallest of so many others, over the repeats."""
    scores = np.random.default_rng(rows).normal(size=(REPEATS, rows + 1))
    return float((scores[:, -1] <= np.sort(scores[:, :-1], axis=1)[:, k - 1]).mean())


@pytest.mark.unchecked_shapes
@pytest.mark.parametrize(("rows", "coverage"), [(9, 0.9), (19, 0.9), (30, 0.75), (12, 0.5)])
def test_coverage_is_what_was_asked_for(rows: int, coverage: float) -> None:
    """Mean k / (n + 1) in [coverage, coverage + 1/(n + 1)], within four binomial errors; k - 1 breaks the promise."""
    draw = np.random.default_rng(1)
    hits = 0.0
    for _ in range(REPEATS):
        y, p = draw.normal(size=rows + 1) ** 3, draw.normal(size=rows + 1)
        half = conformal.halfwidth(y[:-1], p[:-1], coverage)
        hits += conformal.interval_scores(y[-1:], p[-1:], half)["coverage"]
    assert coverage - ERROR <= hits / REPEATS <= coverage + 1 / (rows + 1) + ERROR
    assert covered(rows, conformal.rank(rows, coverage) - 1) < coverage


def test_a_quantile_off_by_one_is_found() -> None:
    """Of 9 rows the largest score holds 90 %, the next 80 %: far more than the binomial error that the test allows."""
    assert abs(covered(9, conformal.rank(9, 0.9)) - 0.9) < ERROR
    assert covered(9, conformal.rank(9, 0.9) - 1) < 0.9 - ERROR


@pytest.mark.unchecked_shapes
def test_sets_hold_the_right_class() -> None:
    """Over repeats of three classes whose probabilities are wrong; sets are the classes likely enough."""
    draw = np.random.default_rng(0)
    hits, rows = 0.0, 24
    for _ in range(REPEATS):
        likely = draw.dirichlet([1.0, 0.5, 2.0], size=rows + 1)
        right = draw.choice(3, size=rows + 1, p=[0.5, 0.2, 0.3])
        limit = conformal.threshold(likely[:-1], right[:-1], 0.8)
        found = conformal.set_scores(likely[-1:], right[-1:], limit)
        assert found["set_size"] == sum(1 - p <= limit for p in likely[-1])
        hits += found["coverage"]
    assert 0.8 - ERROR <= hits / REPEATS <= 0.8 + 1 / 25 + ERROR


@pytest.mark.parametrize("coverage", [0.9, 0.7, 0.07, 0.95, 0.5, 1 / 3])
def test_the_quantile_by_hand(coverage: float) -> None:
    """The k-th smallest, k = ceil((n + 1) coverage); the fewest rows are those for which k is no more than n."""
    rows = conformal.rows_needed(coverage)
    assert conformal.rank(rows, coverage) <= rows
    assert conformal.rank(rows - 1, coverage) > rows - 1
    for n in range(rows, rows + 30):
        scores = np.random.default_rng(n).exponential(size=n)
        smaller = np.sum(scores <= conformal.conformal_quantile(scores, coverage))
        assert smaller - 1 < (n + 1) * coverage * (1 - 1e-12) <= smaller


def test_numbers_that_people_write() -> None:
    """0.7 of 10 is 7, whatever binary fractions say (10 x 0.7 is 7.000000000000001 for some); 0.9 needs 9 rows."""
    assert [conformal.rank(n - 1, c) for n, c in ((10, 0.7), (100, 0.07), (100, 0.29))] == [7, 7, 29]
    assert [conformal.rows_needed(c) for c in (0.5, 0.8, 0.9, 0.95, 0.99)] == [1, 4, 9, 19, 99]


def test_scores_by_hand() -> None:
    """Ends of an interval belong to it, as a class at the threshold belongs to the set; a set may be empty."""
    y: Any = np.array([1.0, 2.0, 5.0])
    assert conformal.interval_scores(y, y + np.array([0.5, -1.0, 2.0]), 1.0) == {
        "coverage": pytest.approx(2 / 3),
        "interval_width": 2,
    }
    likely = np.array([[0.75, 0.25], [0.5, 0.5], [0.25, 0.75]])
    assert conformal.prediction_sets(likely, 0.25).tolist() == [[True, False], [False, False], [False, True]]
    assert conformal.set_scores(likely, np.array([0, 0, 0]), 0.25) == {
        "coverage": pytest.approx(1 / 3),
        "set_size": pytest.approx(2 / 3),
    }
