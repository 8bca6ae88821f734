"""The largest slope over all activation patterns: the best pattern found, and a tree that proves that none is steeper.

See slope_bounds. The tree is all that a certificate needs beside the layers: the bound of each leaf follows from what
is fixed on the way to it. Branch and bound splits the leaves of the largest bounds, where their gap is due to most.
"""

import heapq
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from psilon_bench.metrics.slope_bounds import FREE, SlopeNetwork, jacobian, upper_bounds

CLOSE = 1e-6  # relative gap at which bounds count as equal, beside what is rounded
ROUNDED = 1e-8  # of the path norm for each input and unit, more than bounds are off in float64 and in the checker
NODES_AT_ONCE = 512
MATRIX_NUMBERS = 1 << 24  # of the nodes that are bounded together, which hold several matrices (node, unit, unit)
STARTS = 30


@dataclass(frozen=True)
class Maximum:
    """The largest slope over all patterns: that of the best pattern found, and what the leaves of the tree prove."""

    lower: float
    proved: float
    pattern: np.ndarray  # (unit,), 1 for P and 0 for N
    tree: list[int | None]

    @property
    def gap(self) -> float:
        """Return proved / lower - 1: 0 where both are 0, infinite where nothing is known from below."""
        if self.lower:
            return self.proved / self.lower - 1
        return float("inf") if self.proved else 0.0


def largest_slope(net: SlopeNetwork, seconds: float) -> Maximum:
    """Return bounds of the largest slope over all patterns, about equal or as close as they came in this time."""
    ends = time.monotonic() + seconds
    pattern, slope = best_pattern(net, STARTS)
    lower = max(0.0, slope - 1e-12 * net.path_norm)  # rounded down
    search, enough = SlopeSearch(net), lower * (1 + CLOSE) + rounded(net)
    while search.heap and search.bound > enough and time.monotonic() < ends:
        search.step(enough)
    return Maximum(lower, search.bound, pattern, search.tree.preorder())


def rounded(net: SlopeNetwork) -> float:
    """Return more than bounds of nodes are off, in float64 and in the whole numbers of the checker."""
    return ROUNDED * sum(net.widths) * net.path_norm


@dataclass
class Tree:
    """A binary tree of nodes by number: `split` has the place that each splits, None for a leaf.

    Places are inputs, then units. The first child of a split has -1 for an input and 0 for a unit, the second has 1.
    """

    split: list[int | None] = field(default_factory=lambda: [None])
    children: list[tuple[int, int] | None] = field(default_factory=lambda: [None])

    def grow(self, node: int, place: int) -> tuple[int, int]:
        """Split a leaf, and return its children."""
        first = len(self.split)
        self.split[node], self.children[node] = place, (first, first + 1)
        self.split += [None, None]
        self.children += [None, None]
        return first, first + 1

    def preorder(self) -> list[int | None]:
        """Return what each node splits: a node, then its first child and all below that, then its second child."""
        found, left = list[int | None](), [0]
        while left:
            node = left.pop()
            found.append(self.split[node])
            if (children := self.children[node]) is not None:
                left += [children[1], children[0]]
        return found


@dataclass
class SlopeSearch:
    """The open nodes of a tree, worst first, and what its closed leaves prove."""

    net: SlopeNetwork
    tree: Tree = field(default_factory=Tree)
    heap: list[tuple[float, int, np.ndarray, int]] = field(default_factory=list)
    closed: float = 0.0  # the largest bound of a leaf with nothing left to fix

    def __post_init__(self) -> None:
        """Bound the root."""
        self.add([0], np.full((1, sum(self.net.widths)), FREE))

    def add(self, nodes: Sequence[int], fixed: np.ndarray) -> None:
        """Bound nodes and keep them; bounds are rounded up by more than they are off, in whole numbers too."""
        bounds, scores = upper_bounds(self.net, fixed)
        bounds = bounds + rounded(self.net)
        for node, bound, own, place in zip(nodes, bounds, fixed, scores.argmax(axis=1), strict=True):
            if (own != FREE).all():
                self.closed = max(self.closed, float(bound))
            else:
                heapq.heappush(self.heap, (-float(bound), node, own, int(place)))

    @property
    def bound(self) -> float:
        """Return what the leaves prove."""
        return max(self.closed, -self.heap[0][0] if self.heap else 0.0)

    @property
    def most_nodes(self) -> int:
        """Return how many nodes are bounded together, an even number: fewer of wide networks, to keep memory."""
        widest = max(self.net.widths) ** 2
        return min(NODES_AT_ONCE, max(2, MATRIX_NUMBERS // widest // 2 * 2))

    def step(self, enough: float) -> None:
        """Split the worst nodes whose bound is above `enough`."""
        nodes, rows = list[int](), list[np.ndarray]()
        while self.heap and len(nodes) < self.most_nodes and -self.heap[0][0] > enough:
            _, node, own, place = heapq.heappop(self.heap)
            for child, value in zip(self.tree.grow(node, place), (-1, 1), strict=True):
                changed = own.copy()
                changed[place] = value if place < self.net.widths[0] else max(value, 0)
                nodes.append(child)
                rows.append(changed)
        self.add(nodes, np.stack(rows))


def best_pattern(net: SlopeNetwork, starts: int, seed: int = 0) -> tuple[np.ndarray, float]:
    """Return the pattern (unit,) of the largest slope |J|_1 that ascent by blocks finds from so many drawn ones.

    With t = sign(J) and all layers but one as they are, f is largest for a = 1 where (d v) > 0, unit by unit.
    """
    draw, best = np.random.default_rng(seed), (np.ones(sum(net.widths[1:]), dtype=int), -1.0)
    for start in range(starts):
        a = [np.ones(n, dtype=int) if start == 0 else draw.integers(0, 2, n) for n in net.widths[1:]]
        slope, made = -1.0, jacobian(net, a)
        while abs(made).sum() > slope * (1 + 1e-9):
            slope = float(abs(made).sum())
            if slope > best[1]:
                best = np.concatenate([np.empty(0, dtype=int), *a]), slope
            climb(net, a, np.where(made >= 0, 1.0, -1.0))
            made = jacobian(net, a)
    return best


def climb(net: SlopeNetwork, a: list[np.ndarray], t: np.ndarray) -> None:
    """Set the pattern of one layer after the other, in place, to the one with the largest slope in the direction t."""
    bends = [plus - minus for plus, minus in zip(net.positive, net.negative, strict=True)]
    for k in range(len(a)):
        v, d = net.positive[0] @ t, np.ones((1, 1))
        for j in range(k):
            v = net.negative[j + 1] @ v + bends[j + 1] @ (a[j] * v)
        for j in range(len(a) - 1, k, -1):
            d = d @ (net.negative[j + 1] + bends[j + 1] * a[j])
        a[k] = ((d @ bends[k + 1])[0] * v > 0).astype(int)
