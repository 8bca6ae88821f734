"""Checks a certificate of psilon-certify in whole numbers: python check_certificate.py FILE needs no more than numpy.

The file holds, for each claim, the layers of a network with one output, z = P max(h, 0) + N min(h, 0), without biases,
the first of which is linear, P = N; a pattern of its units with a slope of at least `lower`; and a tree that proves
that no pattern has a slope above `proved`, which so bounds the Lipschitz constant from L_inf. The slope in the
direction t, |t| <= 1, of the pattern a in {0, 1} is the last value of

    v_1 = P_1 t,    v_(k+1) = N_(k+1) v_k + (P_(k+1) - N_(k+1)) a_k v_k,

linear in each t_j and each a_j, so that its maximum is at t in {-1, 1}. The tree, in preorder, names the input or unit
that each node splits, null for a leaf: into t_j = -1 and 1, or a_j = 0 and 1. At a leaf c v + d a v is at most

    (c + d a) v    where a is fixed,    (c + max(d, 0) q + min(d, 0) (1 - q)) v + |d| max(q (-low), (1 - q) high)

elsewhere, for any 0 <= q <= 1 and low <= v <= high, which follow from the same bound of the layers before. Or it has a
proof, numbers lam and mu >= 0: let x hold 1, the free t_j and the free units' z_i = a_i v_i, and let c x be the slope
and w_i x = v_i - z_i. As z_i w_i x = 0, and x_k^2 <= 1 where v is at most 1, for any lam and mu

    c x = x_0 c x + sum_i lam_i z_i w_i x <= sum_k mu_k - x M x,   M = diag(mu) - sym(e_0 c) - sum_i lam_i sym(e_i w_i).

`lower` is checked in the numbers of the file, the binary fractions they are. For the leaves all v are divided by their
path norms first, v_1 by |P_1| 1 and so on, exactly, so that |v| <= 1 and all rows of max(|P|, |N|) sum to 1; then
weights, q, low and high become whole numbers times 2^-30, and whatever is rounded is added to the bound: at most what
is rounded off the factor of a v, as |v| <= 1. No number leaves the 63 bits of int64: the factors f of a function of a
layer's values have sum |f| <= 2^30 first, and (1 + n / 2^31) times as much and n more one layer of n values before, so
with fewer than 2^20 values in all never 2^30.01; f P, f N and d q are sums of products of such numbers, below 2^62.
Proofs are checked likewise, with weights and c and w times 2^-60, in the whole numbers of Python, which have no end.
"""

import json
import sys
from collections.abc import Iterator
from fractions import Fraction
from functools import cached_property
from math import ceil
from typing import Any

import numpy as np

Row = list[Fraction]
BITS, FINE = 30, 60
ONE, MOST_VALUES = 1 << BITS, 1 << 20
FREE = 2  # neither a sign of an input nor a slope of a unit
NUMBERS_AT_ONCE = 1 << 20  # of a matrix that leaves are bounded with


def main() -> None:
    """Check the file that the command line names; exit code 1 where a claim is not proved, 2 for another file."""
    failed = False
    try:
        with open(sys.argv[1], encoding="utf-8") as file:
            for claim, problem in problems_of(file.read()):
                print(f"{claim}: {problem or 'proved'}", flush=True)  # the next one may take minutes
                failed |= bool(problem)
    except (OSError, ValueError) as error:
        print(f"{sys.argv[1]}: {error}", file=sys.stderr)
        sys.exit(2)
    sys.exit(int(failed))


def problems_of(text: str) -> Iterator[tuple[str, str]]:
    """Yield each claim of a file in words and what is wrong with it, nothing where it is proved, once it is checked.

    ValueError where the text is not of such a file, or holds no claim.
    """
    try:
        claims = json.loads(text)["claims"]
        for claim in claims:
            told = f"{claim['of']}, lower {float(claim['lower'])}, upper {float(claim['proved'])}"
            yield told, problem_of(claim)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ValueError("it is no file of psilon-certify --exact --out, or a number of it is missing") from error
    if not claims:
        raise ValueError("it holds no claims")


def problem_of(claim: dict[str, Any]) -> str:
    """Return what is wrong with a claim; nothing where it is proved."""
    layers = [tuple(fractions_of(layer[part]) for part in ("positive", "negative")) for layer in claim["layers"]]
    if not fits(layers):
        return "its layers are no network with one output whose first layer is linear"
    if slope_of(layers, claim["pattern"]) < Fraction(claim["lower"]):
        return f"its pattern has no slope of {claim['lower']}"
    whole, enough = Whole(layers), Fraction(claim["proved"])
    proofs, linear = iter(claim.get("proofs", [])), list[np.ndarray]()
    for leaf in leaves_of(claim["tree"], whole.widths):
        if leaf is None:
            return "its tree is not whole"
        if (proof := next(proofs, None)) is None:
            linear.append(leaf)
        elif whole.path_norm * whole.semidefinite(leaf, proof["unit"], proof["square"]) > enough:
            return unproved(leaf, claim)
    batch = max(1, NUMBERS_AT_ONCE // (2 * max(whole.widths) ** 2))
    for start in range(0, len(linear), batch):
        bounds = whole.bounds(np.stack(linear[start : start + batch]))
        if whole.path_norm * int(bounds.max()) > enough * ONE:
            return unproved(linear[start + int(bounds.argmax())], claim)
    return ""


def leaves_of(tree: list[int | None], widths: list[int]) -> Iterator[np.ndarray | None]:
    """Yield what is fixed at each leaf of a tree, FREE elsewhere, and None where nodes are missing in the end."""
    left = [np.full(sum(widths), FREE)]
    for place in tree:
        fixed = left.pop()
        if place is None:
            yield fixed
            continue
        if type(place) is not int or not 0 <= place < len(fixed):  # true would be an index of all places
            raise IndexError("a tree splits inputs and units")
        for value in (1, -1 if place < widths[0] else 0):
            left.append(fixed.copy())
            left[-1][place] = value
    if left:
        yield None


def unproved(fixed: np.ndarray, claim: dict[str, Any]) -> str:
    """Return what is wrong with a claim that a leaf does not prove."""
    places = {int(place): int(fixed[place]) for place in np.flatnonzero(fixed != FREE)}
    return f"the leaf with {places} fixed does not prove {claim['proved']}"


def fractions_of(matrix: list[list[float]]) -> list[Row]:
    """Return the numbers of a matrix as fractions, of a power of two, which text such as "1/3" would not be."""
    if not all(isinstance(value, int | float) for row in matrix for value in row):
        raise TypeError("a matrix holds numbers")
    return [[Fraction(value) for value in row] for row in matrix]


def fits(layers: list[Any]) -> bool:
    """Return whether each layer reads what the one before gives, the first is linear, and the last has one output."""
    before = values = len(layers[0][0][0])
    for plus, minus in layers:
        if len(plus) != len(minus) or any(len(row) != before for row in [*plus, *minus]):
            return False
        before = len(plus)
        values += before
    return before == 1 and layers[0][0] == layers[0][1] and values < MOST_VALUES


def slope_of(layers: list[Any], pattern: list[int]) -> Fraction:
    """Return |J|_1 of the network with this pattern, 1 for P and 0 for N."""
    rest, paths = list(pattern), np.array(layers[0][0], dtype=object)
    for plus, minus in layers[1:]:
        own, rest = rest[: len(paths)], rest[len(paths) :]
        kept = [[p if a else n for p, n, a in zip(*rows, own, strict=True)] for rows in zip(plus, minus, strict=True)]
        paths = np.array(kept, dtype=object) @ paths
    return Fraction(abs(paths[0]).sum())


class Whole:
    """A network in whole numbers: weights (unit, fan_in) of values over their path norms, times 2^BITS.

    `off` (unit,) is the most that the weights of a row are rounded by together, rounded up.
    """

    def __init__(self, layers: list[Any]) -> None:
        self.widths = [len(plus[0]) for plus, _ in layers]
        self.exact, self.weights, self.off = list[Any](), list[Any](), list[np.ndarray]()
        before = [Fraction(1)] * self.widths[0]
        for layer in layers:
            sizes = [
                [max(abs(p), abs(n)) * r for p, n, r in zip(*two, before, strict=True)]
                for two in zip(*layer, strict=True)
            ]
            norms = [sum(row) for row in sizes]
            scales = [ONE / norm if norm else 0 for norm in norms]  # where it is 0, v is
            exact = [
                [
                    [w * r * scale for w, r in zip(row, before, strict=True)]
                    for row, scale in zip(part, scales, strict=True)
                ]
                for part in layer
            ]
            rounded = [[[round(value) for value in row] for row in part] for part in exact]
            self.exact.append(exact)
            self.weights.append(tuple(np.array(part, dtype=np.int64) for part in rounded))
            lost = abs(np.array(exact, dtype=object) - np.array(rounded, dtype=object)).max(axis=0).sum(axis=1)
            self.off.append(np.array([ceil(value) for value in lost], dtype=np.int64))
            before = norms
        self.path_norm = before[0]

    def bounds(self, fixed: np.ndarray) -> np.ndarray:
        """Return what leaves prove of the output over the path norm, (leaf,), times 2^BITS."""
        parts = np.split(fixed[:, None], np.cumsum(self.widths)[:-1], axis=2)
        ends: list[tuple[np.ndarray, np.ndarray]] = []
        for layer, width in enumerate(self.widths[1:]):
            both = ONE * np.concatenate([-np.eye(width, dtype=np.int64), np.eye(width, dtype=np.int64)])
            found = self.upper(layer, np.broadcast_to(both, (len(fixed), *both.shape)), parts, ends)
            found = np.minimum(found, ONE)[:, None]
            ends.append((-found[..., :width], found[..., width:]))
        last = np.full((len(fixed), 1, 1), ONE)
        return self.upper(len(self.widths) - 1, last, parts, ends)[:, 0]

    def upper(
        self, layer: int, f: np.ndarray, parts: list[np.ndarray], ends: list[tuple[np.ndarray, np.ndarray]]
    ) -> np.ndarray:
        """Return upper bounds (leaf, function) of functions (leaf, function, unit) of the values behind a layer."""
        constant = np.zeros(f.shape[:2], dtype=np.int64)
        for k in range(layer, 0, -1):
            (low, high), a = ends[k - 1], parts[k]
            top, bottom = np.maximum(high, 0), np.maximum(-low, 0)
            q = (top << BITS) // np.maximum(top + bottom, 1)
            gap = np.maximum(rounded_up(q * -low), rounded_up((ONE - q) * high)).clip(0)
            constant += rounded_up(abs(f) @ self.off[k]) + self.widths[k]  # 1/2 for p and n, 1/2 for d q
            p, n = (nearest(f @ weights) for weights in self.weights[k])
            d = p - n
            constant += np.where(a == FREE, rounded_up(abs(d) * gap), 0).sum(axis=2)
            f = n + nearest(d * np.where(a == FREE, np.where(d > 0, q, ONE - q), ONE * a))
        slope, t = f @ self.weights[0][0], parts[0]
        total = np.where(t == FREE, abs(slope), slope * t).sum(axis=2)
        return constant + rounded_up(total + abs(f) @ self.off[0])

    @cached_property
    def fine(self) -> list[list[np.ndarray]]:
        """Return the weights times 2^FINE, each off by 1/2 at most, as numbers of Python."""
        more = 1 << (FINE - BITS)
        return [
            [np.array([[round(w * more) for w in row] for row in part], dtype=object) for part in layer]
            for layer in self.exact
        ]

    def semidefinite(self, fixed: np.ndarray, unit: list[float], square: list[float]) -> Fraction:
        """Return what lam = `unit` and mu = `square` prove of the output over the path norm at a leaf."""
        free = [int((part == FREE).sum()) for part in np.split(fixed, np.cumsum(self.widths)[:-1])]
        lam = [round(Fraction(value) * (1 << FINE)) for value in unit]
        mu = [max(0, round(Fraction(value) * (1 << FINE))) for value in square]
        if len(lam) != sum(free[1:]) or len(mu) != 1 + sum(free):
            raise ValueError("a leaf has a lam for each free unit, and a mu for 1 and for each free input and unit")
        slope, off, kinks, kinks_off = self.functions(fixed)
        twice = np.diag(np.array(mu, dtype=object) << (FINE + 1))  # 2 M times 2^(2 FINE)
        for row, price, kink in zip(range(1 + free[0], len(mu)), lam, kinks, strict=True):
            twice[row] -= price * kink
            twice[:, row] -= price * kink
        twice[0] -= slope << FINE
        twice[:, 0] -= slope << FINE
        lost = 2 * sum(abs(price) * much for price, much in zip(lam, kinks_off, strict=True)) + largest(-twice)
        return Fraction(sum(mu) + off, 1 << FINE) + Fraction(lost, 1 << (2 * FINE + 1))

    def functions(self, fixed: np.ndarray) -> tuple[np.ndarray, int, list[np.ndarray], list[int]]:
        """Return c, the rows w, and by how much c x and each w x may be off, all times 2^FINE, as numbers of Python.

        A value of n others is off by what they are, by 1 for each factor of x, and by 2 for each other one: 1/2 for N
        and 1 for P - N, as |x| <= 1 and values are at most 1 and off by less.
        """
        free, own = fixed == FREE, np.eye(1 + int((fixed == FREE).sum()), dtype=object) << FINE
        x = np.outer(fixed.astype(object), own[0])
        x[free] = own[1:]
        parts, places = (np.split(of, np.cumsum(self.widths)[:-1]) for of in (fixed, x))
        kinks, kinks_off = list[np.ndarray](), list[int]()
        v, off = (self.fine[0][0] @ places[0]) >> FINE, 2 * self.widths[0] + len(own)
        for a, z, (plus, minus), width in zip(parts[1:], places[1:], self.fine[1:], self.widths[1:], strict=True):
            new = (v - z)[a == FREE]
            kinks, kinks_off = [*kinks, *new], kinks_off + [off] * len(new)
            z = np.where((a == FREE)[:, None], z, np.where((a == 1)[:, None], v, 0))
            v, off = (minus @ v + (plus - minus) @ z) >> FINE, off + 2 * width + len(own)
        return v[0], off, kinks, kinks_off


def rounded_up(products: np.ndarray) -> np.ndarray:
    """Return products of two numbers times 2^BITS as one such number, no less than they are."""
    return -(-products >> BITS)


def largest(matrix: np.ndarray) -> int:
    """Return a whole number that x A x is at most, A times 2^(2 FINE + 1), for all |x_k| <= 1 and a symmetric A.

    Whatever L is, x A x = x R x - |L^T x|^2 for R = A + L L^T, and x R x <= sum_k (R_kk + sum of |R_kj|) x_k^2.
    """
    try:
        lower = np.linalg.cholesky((-matrix / (1 << (2 * FINE + 1))).astype(float))
    except np.linalg.LinAlgError:
        lower = np.zeros(matrix.shape)
    whole = np.array([[round(Fraction(value) * (1 << FINE)) for value in row] for row in lower.tolist()], dtype=object)
    rest = matrix + 2 * (whole @ whole.T)
    diagonal = np.diag(rest)
    rows = abs(rest).sum(axis=1) - abs(diagonal) + diagonal
    return int(sum(max(value, 0) for value in rows))


def nearest(products: np.ndarray) -> np.ndarray:
    """Return products of two numbers times 2^BITS as such a number that is off by 1/2 at most."""
    return (products + ONE // 2) >> BITS


if __name__ == "__main__":
    main()
