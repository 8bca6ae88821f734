"""Quantiles of rows with weights."""

from collections.abc import Sequence

import numpy as np


def weighted_quantiles(values: np.ndarray, ranks: Sequence[float], weights: np.ndarray) -> np.ndarray:
    """Return the quantiles (ranks,) of values (rows,) with weights (rows,) that are not all 0.

    Whole weights count equal rows, between which numpy's usual rule interpolates. Of others the quantile is the first
    value at which the sum of the weights has reached its share; a common factor moves it by rounding alone.
    """
    if (weights % 1 == 0).all():
        from scipy.stats import quantile  # a quarter of a second

        return np.atleast_1d(quantile(values, ranks, weights=weights))
    return np.quantile(values, ranks, weights=weights, method="inverted_cdf")
