"""Which settings leave a race at a rung: those whose validation loss is significantly above that of the best.

Where several of the best are wanted, as for refits or an ensemble, above that of the last of these: a setting leaves
where it cannot be one of them any more.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

LEVEL = 0.05  # of the test, for each setting at each rung
ROUNDING = 1e-6  # of the best loss; smaller differences are those of float32 and of other stacks, and count as 0
FEWEST_PAIRS = 2  # that have a spread


@dataclass(frozen=True)
class Elimination:
    """The numbers of a paired one-sided t-test by which a setting leaves.

    difference: mean of its losses minus those of the setting `best`, the last of the `kept` best that were wanted,
    over `pairs` replicates that both have. t is infinite where all differences are equal.
    """

    best: Any
    difference: float
    t: float
    p: float
    pairs: int
    kept: int


def eliminations(losses: pd.DataFrame, wanted: int = 1) -> dict[Any, Elimination]:
    """Return the columns of a table of losses that leave, with their numbers; so many of the best are wanted.

    losses: a row for each replicate, a column for each setting; what is not finite is no loss. A setting is compared
    over the replicates that it shares with the best one, or the last of those wanted; it stays where these are fewer
    than FEWEST_PAIRS, and where its differences are all 0 (up to ROUNDING), which no test tells from chance.
    """
    finite = losses.astype(float).where(np.isfinite(losses.astype(float)))
    best = ranked_best(finite, wanted)
    if len(best) < wanted:
        return {}
    compared = {one: comparison(finite[one], finite[best[-1]], wanted) for one in finite if one not in best}
    return {setting: test for setting, test in compared.items() if test is not None and test.p < LEVEL}


def ranked_best(losses: pd.DataFrame, wanted: int) -> list[Any]:
    """Return the columns with the smallest means, the best first, at most `wanted`; of equal ones the first.

    Compared are settings that have at least as many losses as the upper half of those that have any: a mean over the
    few replicates that did not diverge is a mean over the easy ones.
    """
    counts = losses.count()
    counts = counts[counts > 0]
    if counts.empty:
        return []
    enough = counts[counts >= counts.quantile(interpolation="higher")].index
    return losses[enough].mean().sort_values(kind="stable").index[:wanted].tolist()


def comparison(losses: pd.Series, best: pd.Series, kept: int) -> Elimination | None:
    """Return the test of the losses of one setting against those of the last of the kept; None with too few pairs."""
    from scipy.stats import ttest_rel  # a quarter of a second

    pairs = pd.concat([losses, best], axis=1).dropna()
    if len(pairs) < FEWEST_PAIRS:
        return None
    first, second = pairs.to_numpy().T
    first = np.where(np.abs(first - second) <= ROUNDING * np.abs(second), second, first)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of differences that are (nearly) all equal
        test = ttest_rel(first, second, alternative="greater")
    difference = float((first - second).mean())
    return Elimination(best.name, difference, float(test.statistic), float(test.pvalue), len(pairs), kept)
