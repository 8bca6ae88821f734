"""The largest slope over all activation patterns: the best pattern found, and a tree that proves that none is steeper.

The bound of each leaf follows from what is fixed on the way to it: alone, see slope_bounds, or with numbers that the
tree holds, see semidefinite_bounds. The former are quick and close where few paths cancel, so they are tried first.
Branch and bound splits the leaves of the largest bounds, where their gap is due to most.
"""

import heapq
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from psilon_bench.metrics.proof_tree import Tree, halves
from psilon_bench.metrics.semidefinite_search import CLOSE, SemidefiniteSearch
from psilon_bench.metrics.slope_bounds import FREE, SlopeNetwork, upper_bounds
from psilon_bench.metrics.steepest_pattern import steepest_pattern

ROUNDED = 1e-8  # of the path norm for each input and unit, more than bounds are off in float64 and in the checker
NODES_AT_ONCE = 512
MATRIX_NUMBERS = 1 << 24  # of the nodes that are bounded together, which hold several matrices (node, unit, unit)
STARTS = 100
QUICK = 0.1  # share of the time for the quick bounds, and the most of it for steep patterns before them
LARGEST_PROGRAMME = 400  # inputs and units; steps of a semidefinite programme take the cube of it


@dataclass(frozen=True)
class Maximum:
    """The largest slope over all patterns: that of the best pattern found, and what the leaves of the tree prove."""

    lower: float
    proved: float
    pattern: np.ndarray  # (unit,), 1 for P and 0 for N
    tree: list[int | None]
    proofs: list[Any]  # of the leaves

    @property
    def gap(self) -> float:
        """Return proved / lower - 1: 0 where both are 0, infinite where nothing is known from below."""
        if self.lower:
            return self.proved / self.lower - 1
        return float("inf") if self.proved else 0.0


def largest_slope(net: SlopeNetwork, seconds: float) -> Maximum:
    """Return bounds of the largest slope over all patterns, about equal or as close as they came in this time."""
    start, fits = time.monotonic(), sum(net.widths) <= LARGEST_PROGRAMME
    pattern, slope = steepest_pattern(net, STARTS, deadline=start + seconds * QUICK)
    lower = max(0.0, slope - 1e-12 * net.path_norm)  # rounded down
    search, enough = SlopeSearch(net), lower * (1 + CLOSE) + rounded(net)
    ends = time.monotonic() + seconds * QUICK if fits else start + seconds
    while search.heap and search.bound > enough and time.monotonic() < ends:
        search.step(enough, ends - time.monotonic())
    tree, proved = search.tree, search.bound
    if fits and search.heap and proved > enough:
        slower = SemidefiniteSearch(net, pattern, lower)
        slower.run(start + seconds)
        pattern, lower = slower.pattern, slower.lower
        if slower.bound < proved:
            tree, proved = slower.tree, slower.bound
    return Maximum(lower, proved, pattern, tree.preorder(), tree.leaf_proofs())


def rounded(net: SlopeNetwork) -> float:
    """Return more than bounds of nodes are off, in float64 and in the whole numbers of the checker."""
    return ROUNDED * sum(net.widths) * net.path_norm


@dataclass
class SlopeSearch:
    """The open nodes of a tree, worst first, and what its closed leaves prove."""

    net: SlopeNetwork
    tree: Tree = field(default_factory=Tree)
    heap: list[tuple[float, int, np.ndarray, int]] = field(default_factory=list)
    closed: float = 0.0  # the largest bound of a leaf with nothing left to fix
    node_s: float = 0.0  # that the bound of a node took in the last step

    def __post_init__(self) -> None:
        """Bound the root."""
        self.add([0], np.full((1, sum(self.net.widths)), FREE))

    def add(self, nodes: Sequence[int], fixed: np.ndarray) -> None:
        """Bound nodes and keep them; bounds are rounded up by more than they are off, in whole numbers too."""
        started = time.perf_counter()
        bounds, scores = upper_bounds(self.net, fixed)
        self.node_s = (time.perf_counter() - started) / len(fixed)
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

    def step(self, enough: float, seconds: float = math.inf) -> None:
        """Split the worst nodes whose bound is above `enough`, as many as can be bounded in so many seconds."""
        nodes, rows, most = list[int](), list[np.ndarray](), min(self.most_nodes, seconds / self.node_s)
        while self.heap and (not nodes or len(nodes) + 2 <= most) and -self.heap[0][0] > enough:
            _, node, own, place = heapq.heappop(self.heap)
            nodes += self.tree.grow(node, place)
            rows += halves(own, place, self.net.widths[0])
        self.add(nodes, np.stack(rows))
