"""Checks a certificate of psilon-certify in rational arithmetic: python check_certificate.py FILE needs Python alone.

The file holds, for each claim, the layers of a network with one output, z = P max(h, 0) + N min(h, 0), without biases,
the first of which is linear, P = N; a pattern of its units with a slope of at least `lower`; and a tree that proves
that no pattern has a slope above `proved`, which so bounds the Lipschitz constant from L_inf. The slope in the
direction t, |t| <= 1, of the pattern a in {0, 1} is the last value of

    v_1 = P_1 t,    v_(k+1) = N_(k+1) v_k + (P_(k+1) - N_(k+1)) a_k v_k,

linear in each t_j and each a_j, so that its maximum is at t in {-1, 1}. The tree, in preorder, names the input or unit
that each node splits, null for a leaf: into t_j = -1 and 1, or a_j = 0 and 1. At a leaf c v + d a v is at most

    (c + d a) v    where a is fixed,    (c + max(d, 0) q + min(d, 0) (1 - q)) v + |d| max(q (-low), (1 - q) high)

elsewhere, for any 0 <= q <= 1 and low <= v <= high, which follow from the same bound of the layers before. Numbers are
read as the binary fractions they are; ends of v are rounded outward to 2^-80, nothing else is rounded.
"""

import json
import sys
from collections.abc import Iterator
from fractions import Fraction
from math import ceil, floor
from operator import mul
from typing import Any

Row = list[Fraction]
Rows = list[list[int]]
Q, ENDS = 24, 80  # bits of q, and of the ends behind the point


def main() -> None:
    """Check the file that the command line names; exit code 1 where a claim is not proved, 2 for another file."""
    try:
        with open(sys.argv[1], encoding="utf-8") as file:
            found = list(problems_of(file.read()))
    except ValueError as error:
        print(f"{sys.argv[1]}: {error}", file=sys.stderr)
        sys.exit(2)
    problems = [f"{of}: {problem}" for of, problem in found if problem]
    print("\n".join(problems) or f"{len(found)} claims are proved")
    sys.exit(1 if problems else 0)


def problems_of(text: str) -> Iterator[tuple[str, str]]:
    """Yield what each claim of a file is of and what is wrong with it, nothing where it is proved, once it is checked.

    ValueError where the text is not of such a file, or holds no claim.
    """
    try:
        claims = json.loads(text)["claims"]
        for claim in claims:
            yield str(claim["of"]), problem_of(claim)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError) as error:
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
    whole, proved = Whole(layers), Fraction(claim["proved"])
    left: list[dict[int, int]] = [{}]
    for place in claim["tree"]:
        fixed = left.pop()
        if place is None:
            if whole.bound(fixed) > proved:
                return f"the leaf with {fixed} fixed does not prove {claim['proved']}"
        else:
            left += [fixed | {place: 1}, fixed | {place: -1 if place < whole.inputs else 0}]
    return "its tree is not whole" if left else ""


def fractions_of(matrix: list[list[float]]) -> list[Row]:
    """Return the numbers of a matrix as fractions, of a power of two, which text such as "1/3" would not be."""
    if not all(isinstance(value, int | float) for row in matrix for value in row):
        raise TypeError("a matrix holds numbers")
    return [[Fraction(value) for value in row] for row in matrix]


def fits(layers: list[Any]) -> bool:
    """Return whether each layer reads what the one before gives, the first is linear, and the last has one output."""
    before = len(layers[0][0][0])
    for plus, minus in layers:
        if len(plus) != len(minus) or any(len(row) != before for row in [*plus, *minus]):
            return False
        before = len(plus)
    return before == 1 and layers[0][0] == layers[0][1]


def slope_of(layers: list[Any], pattern: list[int]) -> Fraction:
    """Return |J|_1 of the network with this pattern, 1 for P and 0 for N."""
    rest, inputs = list(pattern), len(layers[0][0][0])
    paths = layers[0][0]
    for plus, minus in layers[1:]:
        own, rest = rest[: len(paths)], rest[len(paths) :]
        kept = [[p if a else n for p, n, a in zip(*rows, own, strict=True)] for rows in zip(plus, minus, strict=True)]
        columns = [[path[j] for path in paths] for j in range(inputs)]
        paths = [[sum((w * q for w, q in zip(row, c, strict=True)), Fraction()) for c in columns] for row in kept]
    return sum((abs(value) for value in paths[0]), Fraction())


class Whole:
    """A network in whole numbers: those of its layers times 2^bits."""

    def __init__(self, layers: list[Any]) -> None:
        numbers = [value for layer in layers for rows in layer for row in rows for value in row]
        self.bits = max(value.denominator for value in numbers).bit_length() - 1
        rows = [[[[int(value * 2**self.bits) for value in row] for row in part] for part in layer] for layer in layers]
        self.kept = [minus for _, minus in rows]
        self.bends = [
            [[p - n for p, n in zip(*two, strict=True)] for two in zip(*layer, strict=True)] for layer in rows
        ]
        self.columns = [
            [list(zip(*part, strict=True)) for part in two] for two in zip(self.kept, self.bends, strict=True)
        ]
        self.inputs = len(self.kept[0][0])
        self.starts = [0, self.inputs]
        for layer in self.kept[:-1]:
            self.starts.append(self.starts[-1] + len(layer))

    def bound(self, fixed: dict[int, int]) -> Fraction:
        """Return what a leaf proves of the output."""
        ends: list[list[tuple[int, int]]] = []
        for k in range(len(self.kept)):
            own = [(kept, bend) for kept, bend in zip(self.kept[k], self.bends[k], strict=True)]
            high = [self.upper(k, kept, bend, fixed, ends) for kept, bend in own]
            if k == len(self.kept) - 1:
                return high[0]
            low = [-self.upper(k, [-w for w in kept], [-w for w in bend], fixed, ends) for kept, bend in own]
            ends.append([(floor(a * 2**ENDS), ceil(b * 2**ENDS)) for a, b in zip(low, high, strict=True)])
        raise ValueError("a network has layers")

    def upper(
        self, layer: int, c: list[int], d: list[int], fixed: dict[int, int], ends: list[list[tuple[int, int]]]
    ) -> Fraction:
        """Return an upper bound of c v + d a v, whole numbers over 2^bits, of the values v that this layer reads."""
        constant, bits = Fraction(), self.bits
        for k in range(layer, 0, -1):
            function, gaps = [], 0
            for unit, (kept, bend, (low, high)) in enumerate(zip(c, d, ends[k - 1], strict=True)):
                a = fixed.get(self.starts[k] + unit)
                if a is not None:
                    function.append((kept + bend * a) << Q)
                    continue
                top, bottom = max(high, 0), max(-low, 0)
                q = (top << Q) // (top + bottom) if top + bottom else 0
                rest = (1 << Q) - q
                function.append((kept << Q) + bend * (q if bend > 0 else rest))
                gaps += abs(bend) * max(q * -low, rest * high, 0)
            constant += Fraction(gaps, 1 << (bits + Q + ENDS))
            bits += Q + self.bits
            c, d = ([sum(map(mul, function, column)) for column in part] for part in self.columns[k - 1])
        total = 0
        for j, (kept, bend) in enumerate(zip(c, d, strict=True)):  # d is 0 at the inputs
            t = fixed.get(j)
            total += abs(kept + bend) if t is None else (kept + bend) * t
        return constant + Fraction(total, 1 << bits)


if __name__ == "__main__":
    main()
