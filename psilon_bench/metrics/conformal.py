r"""Split conformal prediction: intervals and sets that hold the right answer with a probability that is chosen.

Of n rows that the network did not train on, scores s_i say how far the right answer is from the prediction. A new row,
exchangeable with these, has a score of at most the k-th smallest, k = ceil((n + 1) coverage), with a probability of
`coverage` at least, and of coverage + 1 / (n + 1) at most where no two scores are equal. Vovk, Gammerman & Shafer 2005,
Algorithmic learning in a random world; Lei et al. 2018, Distribution-free predictive inference for regression, theorem
2.2. Where the rows have also chosen the network, the probability holds only about.
"""

import math
from fractions import Fraction

import numpy as np
from jaxtyping import Bool

from psilon_bench.metrics.classification import Classes, Probabilities
from psilon_bench.metrics.regression import Numbers


def rank(rows: int, coverage: float) -> int:
    """Return k = ceil((rows + 1) coverage), of the decimal number that a person wrote: 0.7 of 10 is 7."""
    return math.ceil((rows + 1) * Fraction(str(coverage)))


def rows_needed(coverage: float) -> int:
    """Return the smallest n with ceil((n + 1) coverage) <= n, which is ceil(coverage / (1 - coverage))."""
    level = Fraction(str(coverage))
    return math.ceil(level / (1 - level))


def conformal_quantile(scores: Numbers, coverage: float) -> float:
    """Return the k-th smallest of n scores, k = ceil((n + 1) coverage); needs n >= rows_needed(coverage)."""
    k = rank(len(scores), coverage)
    assert k <= len(scores), f"{len(scores)} scores are too few for {coverage}"
    return float(np.partition(scores, k - 1)[k - 1])


def halfwidth(target: Numbers, predicted: Numbers, coverage: float) -> float:
    """Return h such that predicted +- h holds the target: the conformal quantile of |y - p|, in units of the target."""
    return conformal_quantile(np.abs(target - predicted), coverage)


def interval_scores(target: Numbers, predicted: Numbers, half: float) -> dict[str, float]:
    """Return `coverage`, the fraction of rows with |y - p| <= half, and `interval_width` = 2 half."""
    return {"coverage": float(np.mean(np.abs(target - predicted) <= half)), "interval_width": 2 * half}


def threshold(likely: Probabilities, right: Classes, coverage: float) -> float:
    """Return q such that the classes with 1 - p <= q hold the right one: the conformal quantile of 1 - p of the right.

    These are the smallest sets on average (LAC; Sadinle, Lei & Wasserman 2019, Least ambiguous set-valued classifiers).
    """
    return conformal_quantile(1 - likely[np.arange(len(right)), right], coverage)


def prediction_sets(likely: Probabilities, limit: float) -> Bool[np.ndarray, "row class"]:
    """Return whether each class is in the set of a row, 1 - p <= limit; a set may be empty."""
    return 1 - likely <= limit


def set_scores(likely: Probabilities, right: Classes, limit: float) -> dict[str, float]:
    """Return `coverage`, the fraction of rows whose set holds the right class, and `set_size`, their mean size."""
    sets = prediction_sets(likely, limit)
    return {"coverage": float(sets[np.arange(len(right)), right].mean()), "set_size": float(sets.sum(axis=1).mean())}
