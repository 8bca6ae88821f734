r"""Bounds of the slope of a network over activation patterns by semidefinite programmes, tight where units cancel.

All values v of `slope_bounds` are divided by their path norms, so that |v| <= 1. Let x hold 1, the free inputs t_j and
the free units' z_i = a_i v_i, so that each v_i and the slope are linear functions of x. Patterns and inputs have

    z_i (v_i - z_i) = 0,    x_k^2 <= 1,

and with c x the slope and w_i x = v_i - z_i (Shor's relaxation; Raghunathan et al. 2018, Fazlyab et al. 2019)

    c x = x_0 c x + sum_i lam_i z_i w_i x <= sum_k mu_k - x M x <= sum_k mu_k    for every lam and mu >= 0 for which
    M = diag(mu) - sym(e_0 c) - sum_i lam_i sym(e_i w_i) is positive semidefinite, sym(A) = (A + A^T) / 2.

The least such sum is found by a primal-dual interior-point method (HKM direction: Helmberg et al. 1996; predictor and
corrector as CSDP, Borchers 1999), whose every step has an M > 0, so that its sum is a bound wherever it stops.
"""

import time
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from psilon_bench.metrics.slope_bounds import FREE, SlopeNetwork

STEPS = 60
CLOSE = 1e-7  # relative duality gap
USELESS = 0.05  # share of what a bound is too large by that the duality gap may have where no bound can be enough
TO_EDGE = 0.95  # of the way to the edge of the cone
SHORTER = 0.8  # times the step that leaves it
LEAST_STEP = 1e-9
SHIFT = 1e-10  # of the largest mu, added to all, so that M has a Cholesky decomposition in float64


@dataclass(frozen=True)
class Programme:
    """The numbers of a node: c (x,), w (unit, x) of its free units, and where x has their z, `at` (unit,)."""

    slope: np.ndarray
    kinks: np.ndarray
    at: np.ndarray

    def matrix(self, slope: float, unit: np.ndarray, square: np.ndarray) -> np.ndarray:
        """Return diag(mu) - slope sym(e_0 c) - sum lam_i sym(e_i w_i), for lam = `unit` and mu = `square`."""
        made = np.zeros((len(square), len(square)))
        made[0] = -slope * self.slope
        made[self.at] -= unit[:, None] * self.kinks
        return (made + made.T) / 2 + np.diag(square)

    def products(self, matrix: np.ndarray) -> np.ndarray:
        """Return the inner products of a symmetric matrix with the derivatives of M by mu and by lam."""
        return np.concatenate([np.diag(matrix), -(self.kinks * matrix[self.at]).sum(axis=1)])


@dataclass(frozen=True)
class Bound:
    """lam (unit,) and mu (x,), whose sum bounds the slope over the path norm, and the solution X of the other side."""

    unit: np.ndarray
    square: np.ndarray
    primal: np.ndarray


def normalised(net: SlopeNetwork) -> SlopeNetwork:
    """Return the network of the values over their path norms; 0 where the path norm is."""
    reach, made = np.ones(net.widths[0]), list[tuple[np.ndarray, np.ndarray]]()
    for plus, minus in zip(net.positive, net.negative, strict=True):
        norm = np.maximum(abs(plus), abs(minus)) @ reach
        scale = np.divide(1, norm, out=np.zeros_like(norm), where=norm > 0)[:, None]
        made.append((scale * plus * reach, scale * minus * reach))
        reach = norm
    return SlopeNetwork([plus for plus, _ in made], [minus for _, minus in made])


def programme(net: SlopeNetwork, fixed: np.ndarray) -> Programme:
    """Return the programme of a node of a normalised network. fixed: (place,), FREE where nothing is fixed."""
    parts = np.split(fixed, np.cumsum(net.widths)[:-1])
    own = np.eye(1 + int((fixed == FREE).sum()))
    rows = np.where(fixed[:, None] == FREE, 0.0, fixed[:, None] * own[0])
    rows[fixed == FREE] = own[1:]
    x = np.split(rows, np.cumsum(net.widths)[:-1])
    v, kinks = net.positive[0] @ x[0], list[np.ndarray]()
    for a, z, plus, minus in zip(parts[1:], x[1:], net.positive[1:], net.negative[1:], strict=True):
        kinks.append((v - z)[a == FREE])
        z = np.where((a == FREE)[:, None], z, np.where((a == 1)[:, None], v, 0))
        v = minus @ v + (plus - minus) @ z
    first = 1 + int((parts[0] == FREE).sum())
    return Programme(v[0], np.concatenate([np.empty((0, len(own))), *kinks]), np.arange(first, len(own)))


@dataclass
class Iterate:
    """A point inside: lam, mu > 0 with M > 0, and X > 0 with `left` > 0, which stands for 1 - diag(X)."""

    unit: np.ndarray
    square: np.ndarray
    primal: np.ndarray
    left: np.ndarray

    @classmethod
    def start(cls, of: Programme) -> "Iterate":
        """Return a point where M is diagonally dominant."""
        size, scale = len(of.slope), max(float(abs(of.slope).max()), 1e-9)
        unit = np.full(len(of.at), scale)
        made = of.matrix(1, unit, np.zeros(size))
        rest = abs(made).sum(axis=1) - abs(np.diag(made)) - np.diag(made)
        return cls(unit, 1.1 * rest.clip(0) + 0.01 * scale, 0.9 * np.eye(size), np.full(size, 0.1))

    def gap(self, m: np.ndarray) -> float:
        """Return the mean product of what is complementary."""
        return float(((self.primal * m).sum() + self.left @ self.square) / (2 * len(m)))

    def moved(self, by: "Iterate", m: np.ndarray, dm: np.ndarray) -> "Iterate":
        """Return the point after the longest step of each side, of 1 at most, that stays inside."""
        one = min(edge(self.primal, by.primal), ratio(self.left, by.left))
        two = min(edge(m, dm), ratio(self.square, by.square))
        return Iterate(
            self.unit + two * by.unit,
            self.square + two * by.square,
            self.primal + one * by.primal,
            self.left + one * by.left,
        )


def least_bound(of: Programme, enough: float, deadline: float) -> Bound:
    """Return the least bound as far as it is found when time.monotonic() shows `deadline`.

    It also stops where it is at most `enough`, or clearly cannot be.
    """
    now = best = Iterate.start(of)
    for _ in range(STEPS):
        m = of.matrix(1, now.unit, now.square)
        gap, value = now.gap(m) * 2 * len(m), now.square.sum()
        best = min(best, now, key=lambda point: point.square.sum())
        useless = gap < USELESS * (value - enough)
        if value <= enough or gap < CLOSE * value or useless or time.monotonic() > deadline:
            break
        try:
            now = improved(of, now, m)
        except (np.linalg.LinAlgError, ValueError):  # float64 has no better point
            break
    return Bound(best.unit, best.square + SHIFT * best.square.max(), best.primal)


def improved(of: Programme, now: Iterate, m: np.ndarray) -> Iterate:
    """Return the next point: a step to the edge says how far the middle of the cone is left, and how it bends."""
    inverse = cho_solve(cho_factor(m), np.eye(len(m)))
    inverse = (inverse + inverse.T) / 2
    system = schur(of, now, inverse)
    scale = 1 / np.sqrt(np.diag(system))
    factor = cho_factor(system * scale * scale[:, None] + 1e-13 * np.eye(len(system)))
    per_mu = np.concatenate([1 / now.square, np.zeros(len(of.at))])
    right = of.products(inverse) + per_mu
    ones = np.concatenate([np.ones(len(m)), np.zeros(len(of.at))])

    def direction(mean: float, bent: np.ndarray, bent_left: np.ndarray) -> tuple[Iterate, np.ndarray]:
        corrector = of.products(bent)
        corrector[: len(m)] += bent_left
        solved = scale * cho_solve(factor, scale * (mean * right - ones - corrector))
        square, unit = solved[: len(m)], solved[len(m) :]
        dm = of.matrix(0, unit, square)
        primal = mean * inverse - now.primal - bent - symmetric(now.primal @ dm @ inverse)
        left = (mean - now.left * square) / now.square - now.left - bent_left
        return Iterate(unit, square, primal, left), dm

    ahead, dm = direction(0.0, np.zeros_like(m), np.zeros(len(m)))
    there = now.moved(ahead, m, dm)
    gap = now.gap(m)
    left_over = min(1.0, max(1e-4, (there.gap(of.matrix(1, there.unit, there.square)) / gap) ** 2))
    bent = symmetric(ahead.primal @ dm @ inverse)
    step, dm = direction(left_over * gap, bent, ahead.left * ahead.square / now.square)
    return now.moved(step, m, dm)


def schur(of: Programme, now: Iterate, inverse: np.ndarray) -> np.ndarray:
    """Return tr(A_i X A_j M^-1) of the derivatives A of M, e_k e_k^T of mu_k and -sym(e_i w_i^T) of lam_i."""
    x, at, size = now.primal, of.at, len(now.square)
    xw, mw = x @ of.kinks.T, inverse @ of.kinks.T
    made = np.empty((size + len(at),) * 2)
    made[:size, :size] = x * inverse + np.diag(now.left / now.square)
    made[:size, size:] = -(x[:, at] * mw + xw * inverse[:, at]) / 2
    made[size:, :size] = made[:size, size:].T
    corner = np.ix_(at, at)
    made[size:, size:] = (
        xw[at].T * mw[at] + (of.kinks @ xw) * inverse[corner] + x[corner] * (of.kinks @ mw) + xw[at] * mw[at].T
    ) / 4
    return symmetric(made)


def symmetric(matrix: np.ndarray) -> np.ndarray:
    """Return (A + A^T) / 2."""
    return (matrix + matrix.T) / 2


def edge(matrix: np.ndarray, by: np.ndarray) -> float:
    """Return a step, of 1 at most, that leaves a positive definite matrix one, by trial, cheaper than eigenvalues.

    LinAlgError where rounding leaves none.
    """
    step = 1.0
    while not definite(matrix + step / TO_EDGE * by):
        step *= SHORTER
        if step < LEAST_STEP:
            raise np.linalg.LinAlgError("the matrix is not definite in float64")
    return step


def definite(matrix: np.ndarray) -> bool:
    """Return whether a matrix has a Cholesky decomposition in float64."""
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return False
    return True


def ratio(values: np.ndarray, by: np.ndarray) -> float:
    """Return the step, of 1 at most, that leaves positive values positive."""
    fastest = (-by / values).max()
    return 1.0 if fastest <= TO_EDGE else TO_EDGE / fastest
