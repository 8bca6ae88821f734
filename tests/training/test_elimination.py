"""Who leaves a race at a rung: against a slow oracle, and what the decision must not depend on."""

import math
import statistics
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from psilon_bench.config.sections import TrainerSection
from psilon_bench.training.elimination import eliminations, ranked_best
from psilon_bench.training.rungs import RUNGS, loss_at, rung_epoch


def table(seed: int, settings: int = 6, replicates: int = 5, holes: float = 0.2) -> pd.DataFrame:
    """Losses with an effect of the setting, a larger one of the replicate, noise, and holes: NaN or infinite."""
    draw = np.random.default_rng(seed)
    losses = np.linspace(0, 1, settings) + 3 * draw.normal(size=(replicates, 1))
    losses = losses + 0.3 * draw.normal(size=(replicates, settings))
    losses[draw.random(losses.shape) < holes] = draw.choice([np.nan, np.inf])
    return pd.DataFrame(losses, index=[f"seed={i}" for i in range(replicates)], columns=list("abcdefgh")[:settings])


def slow(losses: pd.DataFrame, wanted: int = 1) -> dict[str, tuple[str, float, float, float, int]]:
    """The rule in plain loops: t = mean / (s / sqrt(n)) of the paired differences, p from Student's distribution."""
    own = {name: {i: x for i, x in losses[name].items() if math.isfinite(x)} for name in losses}
    there = {name: values for name, values in own.items() if values}
    enough = statistics.median_high([len(values) for values in there.values()])
    ranked = sorted((n for n in there if len(there[n]) >= enough), key=lambda n: statistics.mean(there[n].values()))
    if len(ranked) < wanted:
        return {}
    best = ranked[wanted - 1]
    leaving = {}
    for name, values in there.items():
        gaps = [values[i] - there[best][i] for i in values if i in there[best]]
        if name in ranked[:wanted] or len(gaps) < 2:
            continue
        t = statistics.mean(gaps) / (statistics.stdev(gaps) / math.sqrt(len(gaps)))
        p = stats.t.sf(t, len(gaps) - 1)
        if p < 0.05:
            leaving[name] = (best, statistics.mean(gaps), t, p, len(gaps))
    return leaving


@pytest.mark.parametrize("wanted", [1, 3])
@pytest.mark.parametrize("seed", range(10))
def test_it_is_the_paired_test(seed: Any, wanted: int) -> None:
    """Numbers of a plain implementation, on tables where many leave, some stay, and losses are missing."""
    losses = table(seed)
    found, expected = eliminations(losses, wanted), slow(losses, wanted)
    assert len(losses.columns) - len(found) >= wanted
    assert found.keys() == expected.keys()
    for name, (best, difference, t, p, pairs) in expected.items():
        assert (found[name].best, found[name].pairs) == (best, pairs)
        assert (found[name].difference, found[name].t, found[name].p) == pytest.approx((difference, t, p), rel=1e-9)


def test_some_leave_and_some_stay() -> None:
    """The tables above try both."""
    counts = {len(eliminations(table(seed))) for seed in range(20)}
    assert min(counts) < 3 < max(counts)


@pytest.mark.parametrize("seed", range(5))
def test_the_difficulty_of_a_replicate_does_not_count(seed: Any) -> None:
    """A constant added to all losses of a replicate changes nothing, nor does the order, nor the unit."""
    losses = table(seed, holes=0)
    expected = eliminations(losses)
    assert expected
    harder = losses.add(np.arange(5) * 10.0, axis=0)
    shuffled = losses.iloc[::-1, ::-1]
    for other, factor in ((harder, 1), (shuffled, 1), (losses * 7, 7)):
        found = eliminations(other)
        assert found.keys() == expected.keys()
        for name, test in found.items():
            assert test.p == pytest.approx(expected[name].p, rel=1e-6)
            assert test.difference == pytest.approx(factor * expected[name].difference, rel=1e-6)


def test_too_few_pairs_and_no_difference_prove_nothing() -> None:
    """One pair, no pair, equal losses: they stay; differences that are all equal and above 0 leave."""
    nan = math.nan
    losses = pd.DataFrame(
        {
            "a": [1.0, 2.0, 3.0],
            "pair": [9.0, nan, nan],
            "none": [nan] * 3,
            "same": [1.0, 2.0, 3.0],
            "up": [2.0, 3.0, 4.0],
        }
    )
    found = eliminations(losses)
    assert found.keys() == {"up"}
    assert (found["up"].best, found["up"].difference, found["up"].t, found["up"].p) == ("a", 1.0, math.inf, 0.0)
    assert eliminations(losses[["none"]]) == eliminations(losses.iloc[:0]) == {}


def test_rounding_proves_nothing() -> None:
    """Settings that are equal but for the rounding of float32 stay, in which direction it ever goes."""
    losses = pd.DataFrame({"a": [0.5, 0.6, 0.7], "b": [0.5, 0.6, 0.7]})
    losses["b"] *= 1 + 1e-7
    losses["c"] = losses["a"] * 1.001
    assert eliminations(losses).keys() == {"c"}


def test_a_lucky_replicate_is_not_the_best() -> None:
    """A setting whose other replicates diverged is no measure for the others."""
    losses = pd.DataFrame({"lucky": [0.1, math.nan, math.nan], "b": [0.2, 0.3, 0.4], "c": [0.5, 0.4, 0.45]})
    assert ranked_best(losses, 1) == ["b"]


@pytest.mark.parametrize(("epochs", "eval_every"), [(1000, 10), (40, 7), (4, 1), (30, 7), (9, 2)])
def test_rungs_are_evaluations(settings: Any, epochs: Any, eval_every: Any) -> None:
    """The last evaluation at or before a share of the epochs: no later one fits."""
    own: TrainerSection = settings(epochs=epochs, eval_every=eval_every)
    found = [rung_epoch(own, share) for share in RUNGS]
    assert found == sorted(set(found))
    for epoch, share in zip(found, RUNGS, strict=True):
        assert epoch % eval_every == 0
        assert epoch <= share * epochs < epoch + eval_every
    assert rung_epoch(settings(epochs=40, eval_every=11), 0.25) == 0


def test_the_loss_of_a_run_that_is_done() -> None:
    """Of the last row, or of the best; only who finished early keeps a loss after its end."""
    rows = [{"epoch": 2.0, "val/loss": 0.5}, {"epoch": 4.0, "val/loss": 0.3}, {"epoch": 6.0, "val/loss": 0.4}]
    for finished in (True, False):
        assert [loss_at(rows, epoch, False, finished) for epoch in (2, 4, 6)] == [0.5, 0.3, 0.4]
        assert [loss_at(rows, epoch, True, finished) for epoch in (2, 4, 6)] == [0.5, 0.3, 0.3]
    assert loss_at(rows, 8, False, is_finished=True) == 0.4
    assert loss_at(rows, 8, False, is_finished=False) is None
    assert loss_at([], 8, False, is_finished=True) is None
