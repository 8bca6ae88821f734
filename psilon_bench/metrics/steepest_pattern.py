"""Steep patterns of a network: what bounds of the largest slope from below."""

import math
import time

import numpy as np

from psilon_bench.metrics.slope_bounds import SlopeNetwork, jacobian


def steepest_pattern(
    net: SlopeNetwork, starts: int, seed: int = 0, deadline: float = math.inf
) -> tuple[np.ndarray, float]:
    """Return the pattern (unit,) of the largest slope |J|_1 that ascent by blocks finds from so many drawn ones.

    With t = sign(J) and all layers but one as they are, f is largest for a = 1 where (d v) > 0, unit by unit. No start
    but the first begins once time.monotonic() shows `deadline`.
    """
    draw, best = np.random.default_rng(seed), (np.ones(sum(net.widths[1:]), dtype=int), -1.0)
    for start in range(starts):
        if start and time.monotonic() >= deadline:
            break
        a = [np.ones(n, dtype=int) if start == 0 else draw.integers(0, 2, n) for n in net.widths[1:]]
        best = max(best, ascent(net, a), key=lambda found: found[1])
    return best


def ascent(net: SlopeNetwork, a: list[np.ndarray]) -> tuple[np.ndarray, float]:
    """Change a pattern, layer by layer in place, as long as its slope grows; return it (unit,) with its slope."""
    slope, made = -1.0, jacobian(net, a)
    while abs(made).sum() > slope * (1 + 1e-9):
        slope, steepest = float(abs(made).sum()), np.concatenate([np.empty(0, dtype=int), *a])
        climb(net, a, np.where(made >= 0, 1.0, -1.0))
        made = jacobian(net, a)
    return steepest, slope


def climb(net: SlopeNetwork, a: list[np.ndarray], t: np.ndarray) -> None:
    """Set the pattern of one layer after the other, in place, to the one with the largest slope in the direction t."""
    bends = [plus - minus for plus, minus in zip(net.positive, net.negative, strict=True)]
    ahead = [np.ones((1, 1))]  # the slope in the values behind each layer but the first
    for k in range(len(a) - 1, 0, -1):
        ahead.insert(0, ahead[0] @ (net.negative[k + 1] + bends[k + 1] * a[k]))
    v = net.positive[0] @ t
    for k, d in enumerate(ahead[: len(a)]):
        a[k] = ((d @ bends[k + 1])[0] * v > 0).astype(int)
        v = net.negative[k + 1] @ v + bends[k + 1] @ (a[k] * v)
