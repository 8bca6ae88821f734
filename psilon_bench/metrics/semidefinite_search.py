"""Branch and bound over activation patterns with semidefinite bounds: few nodes, each of which takes a while."""

import heapq
import time
from dataclasses import dataclass, field

import numpy as np

from psilon_bench.metrics.proof_tree import Tree, halves
from psilon_bench.metrics.semidefinite_bounds import Bound, Programme, least_bound, normalised, programme
from psilon_bench.metrics.slope_bounds import FREE, SlopeNetwork
from psilon_bench.metrics.steepest_pattern import ascent

CLOSE = 1e-6  # relative gap at which bounds count as equal, beside what is rounded
ROUNDED = 1e-8  # of a bound, more than mu is off in float64
ROUNDED_EACH = 1e-15  # of the size of M for each input and unit, more than M is off in float64 and in the checker
DRAWN = 10  # directions in which a node looks for steep patterns


@dataclass(frozen=True)
class Node:
    """What is fixed (place,), the bound and its proof, and the place to split, -1 where all are fixed."""

    fixed: np.ndarray
    proved: float
    proof: dict[str, list[float]]
    place: int


@dataclass
class SemidefiniteSearch:
    """The open nodes of a tree, worst first, what its closed leaves prove, and the best pattern found, its slope lower.

    Its nodes are bounded one by one; their numbers lam and mu are their proofs.
    """

    net: SlopeNetwork
    pattern: np.ndarray
    lower: float
    tree: Tree = field(default_factory=Tree)
    heap: list[tuple[float, int, Node]] = field(default_factory=list)
    closed: float = 0.0  # the largest bound of a leaf that is not split any more

    @property
    def bound(self) -> float:
        """Return what the leaves prove."""
        return max(self.closed, -self.heap[0][0] if self.heap else 0.0)

    def run(self, deadline: float) -> None:
        """Split the worst node until bounds are about equal, or time.monotonic() shows `deadline`."""
        scaled = normalised(self.net)
        self.add(0, self.bounded(scaled, np.full(sum(self.net.widths), FREE), deadline))
        while self.heap and -self.heap[0][0] > self.lower * (1 + CLOSE):
            _, node, own = self.heap[0]
            fixed = halves(own.fixed, own.place, self.net.widths[0])
            children = [self.bounded(scaled, one, deadline) for one in fixed]
            if time.monotonic() >= deadline:  # their bounds may be far from what they would become
                break
            heapq.heappop(self.heap)
            for child, found in zip(self.tree.grow(node, own.place), children, strict=True):
                self.add(child, found)

    def add(self, node: int, found: Node) -> None:
        """Keep a node."""
        self.tree.proofs[node] = found.proof
        if found.place < 0:
            self.closed = max(self.closed, found.proved)
        else:
            heapq.heappush(self.heap, (-found.proved, node, found))

    def bounded(self, scaled: SlopeNetwork, fixed: np.ndarray, deadline: float) -> Node:
        """Bound a node, and look for a steep pattern near the solution of its programme."""
        of, norm = programme(scaled, fixed), self.net.path_norm
        found = least_bound(of, self.lower * (1 + CLOSE / 2) / norm, deadline)
        free = np.flatnonzero(fixed == FREE)
        inputs = int((free < self.net.widths[0]).sum())
        self.look(fixed, found.primal, of)
        place = int(free[scores(found, of.kinks, inputs).argmax()]) if len(free) else -1
        proof = {"unit": found.unit.tolist(), "square": found.square.tolist()}
        mu, lam = float(found.square.sum()), float(abs(found.unit).sum())
        off = ROUNDED * mu + ROUNDED_EACH * len(fixed) * (1 + lam + mu)
        return Node(fixed, (mu + off) * norm, proof, place)

    def look(self, fixed: np.ndarray, solution: np.ndarray, of: Programme) -> None:
        """Look for steep patterns near those of normal numbers x of covariance X: a is 1 where z is nearer to v than 0.

        So Goemans and Williamson 1995 round.
        """
        draw = np.random.default_rng(len(self.tree.split))
        root = np.linalg.cholesky(solution + 1e-9 * np.eye(len(solution)))
        for x in (root @ draw.normal(size=(len(root), DRAWN))).T:
            own = fixed.copy()
            own[np.flatnonzero(fixed == FREE)[of.at - 1]] = abs(x[of.at]) >= abs(of.kinks @ x)
            a = np.split(own[self.net.widths[0] :], np.cumsum(self.net.widths[1:])[:-1])
            pattern, slope = ascent(self.net, a)
            if (slope := slope - 1e-12 * self.net.path_norm) > self.lower:
                self.pattern, self.lower = pattern, slope


def scores(found: Bound, kinks: np.ndarray, inputs: int) -> np.ndarray:
    """Return how far the solution X is from fixing each free input and unit, times the price of that, (place,).

    Were X a mean of x x^T, the mean of mu (t -+ 1)^2 and of lam z^2 or lam (v - z)^2 would be 0 where t or a is fixed.
    """
    x = found.primal
    of_inputs = found.square[1 : inputs + 1] * 2 * (1 - abs(x[0, 1 : inputs + 1]))
    off = np.minimum(np.diag(x)[inputs + 1 :], ((kinks @ x) * kinks).sum(axis=1))
    return np.concatenate([of_inputs, abs(found.unit) * off])
