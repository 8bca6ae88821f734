r"""Bounds of the slope of a network over activation patterns, some of which are fixed: of many nodes of a tree at once.

A network with one output, z = P max(h, 0) + N min(h, 0) without biases, has in the direction t, |t|_inf <= 1, and with
the pattern a in {0, 1} the slope f that is the last value of

    v_1 = P_1 t,    v_(k+1) = N_(k+1) v_k + (P_(k+1) - N_(k+1)) a_k v_k.

f is linear in each t_j and in each a_j alone, so that its maximum is at t in {-1, 1}. A node fixes some of both. There
a linear function c v + d a v of the values of a unit, low <= v <= high, is at most

    (c + d a) v                                                   where a is fixed
    (c + max(d, 0) q + min(d, 0) (1 - q)) v + |d| g,   g = max(q (-low), (1 - q) high), 0 <= q <= 1,   elsewhere,

for any q; g is least for q = high / (high - low), and q is 1 where v is never negative, 0 where it is never positive.
So layer after layer is replaced by linear functions of t, whose maximum is sum |.| over the free t_j. low and high come
from the same bound, layer by layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from psilon_bench.models.slopes import SlopeLayer

FREE = 2  # neither a sign of an input nor a slope of a unit
Ends = tuple[np.ndarray, np.ndarray]  # low and high, (node, unit)


@dataclass(frozen=True)
class SlopeNetwork:
    """P and N (unit, fan_in) of all layers in float64; the first is linear, the last has one row."""

    positive: list[np.ndarray]
    negative: list[np.ndarray]

    @classmethod
    def of(cls, layers: Sequence[SlopeLayer]) -> "SlopeNetwork":
        """Return the layers as arrays."""
        return cls([layer.positive.numpy() for layer in layers], [layer.negative.numpy() for layer in layers])

    @property
    def widths(self) -> list[int]:
        """Return the number of inputs, then that of the units of each hidden layer."""
        return [plus.shape[1] for plus in self.positive]

    @property
    def path_norm(self) -> float:
        """Return the path norm."""
        reach = np.ones(self.widths[0])
        for plus, minus in zip(self.positive, self.negative, strict=True):
            reach = np.maximum(abs(plus), abs(minus)) @ reach
        return float(reach[0])


def upper_bounds(net: SlopeNetwork, fixed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return an upper bound of f at each node, (node,), and what each place adds to it at most, (node, place).

    fixed: (node, place), the inputs' t_j and then the units' a_j, FREE elsewhere.
    """
    parts = np.split(fixed, np.cumsum(net.widths)[:-1], axis=1)
    ranges: list[Ends] = []
    for k in range(len(net.positive) - 1):
        eye = np.broadcast_to(np.eye(len(net.positive[k])), (len(fixed), *[len(net.positive[k])] * 2))
        both = [backward(net, k, sign * eye, parts, ranges)[0] for sign in (-1, 1)]
        ranges.append((-both[0], both[1]))
    last = np.ones((len(fixed), 1, 1))
    bound, gaps = backward(net, len(net.positive) - 1, last, parts, ranges)
    scores = np.concatenate([input_scores(net, gaps, ranges), *(gap[:, 0] for gap in gaps)], axis=1)
    return bound[:, 0], np.where(fixed == FREE, scores, -1.0)


def backward(
    net: SlopeNetwork, layer: int, functions: np.ndarray, parts: list[np.ndarray], ranges: list[Ends]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return upper bounds (node, function) of linear functions (node, function, unit) of a layer's values.

    Beside them are the gaps |d| g of all units below, by layer.
    """
    constant, gaps = np.zeros(functions.shape[:2]), list[np.ndarray]()
    for k in range(layer, 0, -1):
        c, d = functions @ net.negative[k], functions @ (net.positive[k] - net.negative[k])
        low, high = (end[:, None] for end in ranges[k - 1])
        top, bottom = np.maximum(high, 0), np.maximum(-low, 0)
        q = top / np.maximum(top + bottom, np.finfo(float).tiny)
        a = parts[k][:, None]
        relaxed = np.maximum(d, 0) * q + np.minimum(d, 0) * (1 - q)
        gap = np.where(a == FREE, abs(d) * q * bottom, 0)
        gaps.insert(0, gap)
        constant = constant + gap.sum(axis=2)
        functions = c + np.where(a == FREE, relaxed, d * a)
    slope = functions @ net.positive[0]
    t = parts[0][:, None]
    return constant + np.where(t == FREE, abs(slope), slope * t).sum(axis=2), gaps


def input_scores(net: SlopeNetwork, gaps: list[np.ndarray], ranges: list[Ends]) -> np.ndarray:
    """Return how much of the gaps of the first units each input brings about, (node, input)."""
    if not gaps:
        return np.zeros((1, net.widths[0]))
    low, high = ranges[0]
    return gaps[0][:, 0] / np.maximum(high - low, np.finfo(float).tiny) @ abs(net.positive[0])


def jacobian(net: SlopeNetwork, a: Sequence[np.ndarray]) -> np.ndarray:
    """Return J (input,) of the pattern."""
    rows = net.positive[0]
    for plus, minus, own in zip(net.positive[1:], net.negative[1:], a, strict=True):
        rows = (minus + (plus - minus) * own) @ rows
    return rows[0]
