"""Bounds of rounding errors (Higham 2002, lemma 3.1)."""

import torch


def gamma(roundings: int, dtype: torch.dtype) -> float:
    """Return gamma_n = n u / (1 - n u), u = eps / 2: no sum, in any order, and no product is off by more, relatively.

    n counts the roundings that a result has behind it. It is infinite where n u >= 1/2: such a sum may be all error.
    """
    errors = roundings * torch.finfo(dtype).eps / 2
    return errors / (1 - errors) if errors < 0.5 else float("inf")


def gamma_of_bounds(roundings: int) -> float:
    """Return twice gamma for a bound computed in float64 of values with so many roundings behind them, and 64 more.

    The 64 are those of relaxations and sums over layers; twice, so that the sum of such errors may be rounded, too.
    """
    return 2 * gamma(roundings + 64, torch.float64)
