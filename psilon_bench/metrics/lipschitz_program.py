r"""The largest slope over all activation patterns of a network with one output, from L_inf: a programme and its proof.

With the layers z = P max(h, 0) + N min(h, 0), without biases, each unit has one of its two slopes, so that the slope of
the network in a direction t, |t|_inf <= 1, is the last value of

    v_1 = P_1 t,    w_k = a_k v_k with a_k in {0, 1},    v_(k+1) = N_(k+1) v_k + (P_(k+1) - N_(k+1)) w_k.

Its maximum over t and a bounds the Lipschitz constant from L_inf, and is never above the path norm. It is the constant
itself where some input has the pattern of the maximum, which is not examined. Each unit has a bound |v| <= V, its path
norm. The relaxation of w = a v is w - v/2 <= V/2 and v/2 - w <= V/2; once the sign of v is fixed to s, it is
0 <= s w <= s v, which is exact. Fixing signs, best bound first, makes a tree whose leaves are linear programmes; for
any multipliers of their rows (those of inequalities not negative) a leaf is bounded by

    max obj x <= rows' right sides x multipliers + sum_j max(low_j r_j, high_j r_j),   r = obj - rows' x multipliers,

whatever solver the multipliers came from. That is what a certificate holds, and what its checker computes.
"""

import functools
import heapq
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import block_array, csr_array, diags_array, eye_array

from psilon_bench.models.slopes import SlopeLayer

CLOSE = 1e-6  # relative gap at which bounds count as equal


@dataclass(frozen=True)
class Leaf:
    """Signs of units by number, the bound of what they leave, and the multipliers that prove it."""

    signs: dict[int, int]
    bound: float
    multipliers: np.ndarray  # of the rows: an equality for each unit, then two inequalities for each
    branch: int | None  # the unit to fix next; None where the relaxation is exact


class Programme:
    """The programme of layers P, N (unit, fan_in) in float64, of which the last has one row."""

    def __init__(self, layers: Sequence[SlopeLayer]) -> None:
        self.positive = [layer.positive.numpy() for layer in layers]
        self.negative = [layer.negative.numpy() for layer in layers]
        reach, limits = np.ones(self.positive[0].shape[1]), []
        for plus, minus in zip(self.positive, self.negative, strict=True):
            reach = np.maximum(abs(plus), abs(minus)) @ reach
            limits.append(reach)
        self.path_norm = float(limits[-1][0])
        self.limit = np.concatenate([*limits[:-1], np.empty(0)])  # V of each unit
        self.inputs, self.units = self.positive[0].shape[1], len(self.limit)
        self.starts = np.cumsum([0, *(len(part) for part in self.positive[:-1])])
        self.equalities, self.objective = self._equalities(), np.zeros(self.inputs + 2 * self.units)
        place = slice(self.starts[-2], self.starts[-1]) if self.units else slice(0, 0)
        plus, minus = self.positive[-1][0], self.negative[-1][0]
        if self.units:
            self.objective[self.inputs :][place] = minus
            self.objective[self.inputs + self.units :][place] = plus - minus
        else:
            self.objective[:] = plus

    @property
    def _size(self) -> float:
        """Return what the objective is divided by: the path norm, and 1 where that is 0."""
        return self.path_norm or 1.0

    @property
    def _sizes(self) -> np.ndarray:
        """Return the sizes of t, v and w: 1 and V, and 1 where V is 0."""
        limit = np.where(self.limit > 0, self.limit, 1)
        return np.r_[np.ones(self.inputs), limit, limit]

    @functools.cached_property
    def _scaled_equalities(self) -> csr_array:
        """Return the equalities in units of V."""
        sizes = self._sizes
        return diags_array(1 / sizes[self.inputs : self.inputs + self.units]) @ self.equalities @ diags_array(sizes)

    def _equalities(self) -> csr_array:
        """Return the rows v_k - P_1 t = 0 and v_k - N_k v_(k-1) - (P_k - N_k) w_(k-1) = 0 over (t, v, w)."""
        rows = np.zeros((self.units, self.inputs + 2 * self.units))
        for k, (plus, minus) in enumerate(zip(self.positive[:-1], self.negative[:-1], strict=True)):
            own = slice(self.starts[k], self.starts[k + 1])
            rows[own, self.inputs :][:, own] = np.eye(len(plus))
            if k:
                before = slice(self.starts[k - 1], self.starts[k])
                rows[own, self.inputs : self.inputs + self.units][:, before] = -minus
                rows[own, self.inputs + self.units :][:, before] = minus - plus
            else:
                rows[own, : self.inputs] = -plus
        return csr_array(rows)

    def relaxation(self, signs: dict[int, int]) -> tuple[csr_array, np.ndarray, np.ndarray, np.ndarray]:
        """Return rows and right sides of the inequalities, and the ends of the variables, where units have signs."""
        half, right = np.full(self.units, 0.5), self.limit / 2
        on_w = np.ones(self.units)
        low, high = -self.limit.copy(), self.limit.copy()
        ends = np.ones(self.inputs)
        scale = np.array([signs.get(unit, 0) for unit in range(self.units)], dtype=float)
        fixed = scale != 0
        half[fixed], right = scale[fixed], np.where(fixed, 0, right)  # s w - s v <= 0, -s w <= 0
        on_w[fixed] = scale[fixed]
        second_v = np.where(fixed, 0, 0.5)
        nothing = csr_array((self.units, self.inputs))
        rows = block_array(
            [[nothing, diags_array(-half), diags_array(on_w)], [nothing, diags_array(second_v), diags_array(-on_w)]]
        )
        low, high = np.where(scale > 0, 0, low), np.where(scale < 0, 0, high)
        return csr_array(rows), np.tile(right, 2), np.r_[-ends, low, low], np.r_[ends, high, high]

    def leaf(self, signs: dict[int, int]) -> Leaf:
        """Return the bound of the relaxation, from its multipliers."""
        rows, right, low, high = self.relaxation(signs)
        sizes, by_row = self._sizes, np.tile(self._sizes[self.inputs : self.inputs + self.units], 2)
        solved = linprog(  # in units of V, for a solver's tolerances are absolute
            -self.objective * sizes / self._size,
            diags_array(1 / by_row) @ rows @ diags_array(sizes),
            right / by_row,
            self._scaled_equalities,
            np.zeros(self.units),
            np.c_[low / sizes, high / sizes],
            method="highs",
        )
        if solved.x is None:
            return self.unsolved(signs)
        of_equalities = -solved.eqlin.marginals * self._size / by_row[: self.units]
        of_inequalities = np.maximum(-solved.ineqlin.marginals, 0) * self._size / by_row
        v, w = solved.x[self.inputs :][: self.units], solved.x[self.inputs + self.units :]
        off = np.minimum(abs(w), abs(w - v))
        off[list(signs)] = 0
        branch = int(off.argmax()) if self.units and off.max() > 1e-9 else None
        multipliers = np.r_[of_equalities, of_inequalities]
        return Leaf(signs, self.bound(signs, multipliers), multipliers, branch)

    def unsolved(self, signs: dict[int, int]) -> Leaf:
        """Return the bound of the box alone, whose multipliers are 0, and some free unit to go on with."""
        free = next((unit for unit in range(self.units) if unit not in signs), None)
        none = np.zeros(3 * self.units)
        return Leaf(signs, self.bound(signs, none), none, free)

    def bound(self, signs: dict[int, int], multipliers: np.ndarray) -> float:
        """Return what the multipliers prove where units have signs, rounded up by far more than it may be off."""
        rows, right, low, high = self.relaxation(signs)
        of_equalities, of_inequalities = np.split(multipliers, [self.units])
        rest = self.objective - self.equalities.T @ of_equalities - rows.T @ of_inequalities
        return float(right @ of_inequalities + np.maximum(low * rest, high * rest).sum()) + 1e-9 * self.path_norm

    def slope(self, pattern: np.ndarray) -> float:
        """Return the slope |J|_1 of the network with this pattern, 1 for P and 0 for N, rounded down."""
        rows = np.eye(self.inputs)
        for k, (plus, minus) in enumerate(zip(self.positive, self.negative, strict=True)):
            own = pattern[self.starts[k - 1] : self.starts[k], None] if k else 1
            rows = plus @ (own * rows) + minus @ ((1 - own) * rows)
        return max(0.0, float(abs(rows).sum()) - 1e-12 * self.path_norm)

    def pattern(self, seconds: float) -> tuple[np.ndarray, float]:
        """Return the pattern of the largest slope that HiGHS finds in this time, and the bound that it computes."""
        one, none = eye_array(self.units), csr_array((self.units, self.units))
        nothing, zero = csr_array((self.units, self.inputs)), np.zeros(self.units)
        rows = block_array([[nothing, one, none, -one], [nothing, none, one, -one], [nothing, -one, one, one]])
        defined = block_array([[self._scaled_equalities, none]])
        solved = milp(  # in units of V
            np.r_[-self.objective * self._sizes / self._size, zero],
            constraints=[  # -(1 - a) <= v, w <= a and v - a <= w <= v + 1 - a
                LinearConstraint(csr_array(rows), np.r_[zero - 1, zero - 1, zero], np.r_[zero, zero, zero + 1]),
                LinearConstraint(csr_array(defined), zero, zero),
            ],
            bounds=Bounds(np.r_[-np.ones(self.inputs + 2 * self.units), zero], np.ones(self.inputs + 3 * self.units)),
            integrality=np.r_[np.zeros(self.inputs + 2 * self.units), zero + 1],
            options={"time_limit": seconds, "mip_rel_gap": CLOSE},
        )
        if solved.x is None:
            return np.ones(self.units, dtype=int), self.path_norm
        v, w = solved.x[self.inputs :][: self.units], solved.x[self.inputs + self.units :][: self.units]
        found = (abs(w) > abs(w - v)).astype(int)
        bound = solved.mip_dual_bound
        known = bound is not None and np.isfinite(bound)
        return found, min(self.path_norm, -float(bound) * self._size) if known else self.path_norm


@dataclass(frozen=True)
class Maximum:
    """The largest slope over all patterns: that of the best pattern found, and two bounds of it.

    solver: what HiGHS computed, which is off by its tolerances at most. proved: what the leaves prove.
    """

    lower: float
    solver: float
    proved: float
    pattern: np.ndarray
    leaves: list[Leaf]


def largest_slope(programme: Programme, seconds: float) -> Maximum:
    """Return bounds of the largest slope over all patterns, equal up to 1e-6 or as close as they came in this time.

    Half of the time, if needed, is HiGHS's, the rest that of the proof, which is to close the gap to its pattern.
    """
    ends = time.monotonic() + seconds
    if not programme.units:
        leaf, none = programme.leaf({}), np.empty(0, dtype=int)
        return Maximum(programme.slope(none), leaf.bound, leaf.bound, none, [leaf])
    pattern, solver = programme.pattern(seconds / 2)
    lower, order = programme.slope(pattern), itertools.count()
    first = programme.leaf({})
    heap = [(-first.bound, next(order), first)]
    closed: list[Leaf] = []
    while heap and time.monotonic() < ends and -heap[0][0] > lower * (1 + CLOSE):
        leaf = heapq.heappop(heap)[2]
        if leaf.branch is None:
            closed.append(leaf)
            continue
        for sign in (1, -1):
            child = programme.leaf({**leaf.signs, leaf.branch: sign})
            heapq.heappush(
                heap, (-child.bound, next(order), child)
            )  # the parent's bound may be less: nothing proves it
    leaves = [*closed, *(leaf for _, _, leaf in heap)]
    proved = max(leaf.bound for leaf in leaves)
    return Maximum(lower, max(lower, min(solver, proved)), proved, pattern, leaves)
