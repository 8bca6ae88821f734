"""Checks a certificate of psilon-certify in rational arithmetic: python check_certificate.py FILE needs Python alone.

The file holds, for each claim, the layers of a network with one output, z = P max(h, 0) + N min(h, 0), without biases,
the first of which is linear, P = N; a pattern of its units with a slope of at least `lower`; and leaves that prove that
no pattern has a slope above `proved`, which so bounds the Lipschitz constant from L_inf. A leaf fixes signs of some
units and has multipliers of the rows of a linear programme over t, v and w,

    v_1 - P_1 t = 0,  v_k - N_k v_(k-1) - (P_k - N_k) w_(k-1) = 0        for each unit (any multiplier)
    w - v/2 <= V/2, v/2 - w <= V/2;  with the sign s:  s w - s v <= 0, -s w <= 0      (multipliers not negative)

in the box |t| <= 1, |v|, |w| <= V, with s v, s w >= 0, whose largest output is at most rows' right sides x multipliers
+ sum_j max(low_j r_j, high_j r_j), r = output - rows' x multipliers. V are the units' path norms. The leaves have to
cover all signs. Numbers are read as the binary fractions they are, so nothing is rounded anywhere.
"""

import json
import sys
from fractions import Fraction
from typing import Any

Row = list[Fraction]


def main() -> None:
    """Check the file that the command line names; exit code 1 where a claim is not proved, 2 for another file."""
    try:
        with open(sys.argv[1], encoding="utf-8") as file:
            found = problems_of(file.read())
    except ValueError as error:
        print(f"{sys.argv[1]}: {error}", file=sys.stderr)
        sys.exit(2)
    problems = [f"{of}: {problem}" for of, problem in found if problem]
    print("\n".join(problems) or f"{len(found)} claims are proved")
    sys.exit(1 if problems else 0)


def problems_of(text: str) -> list[tuple[str, str]]:
    """Return what each claim of a file is of and what is wrong with it, nothing where it is proved.

    ValueError where the text is not of such a file, or holds no claim.
    """
    try:
        found = [(str(claim["of"]), problem_of(claim)) for claim in json.loads(text)["claims"]]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError) as error:
        raise ValueError("it is no file of psilon-certify --exact --out, or a number of it is missing") from error
    if not found:
        raise ValueError("it holds no claims")
    return found


def problem_of(claim: dict[str, Any]) -> str:
    """Return what is wrong with a claim; nothing where it is proved."""
    layers = [tuple(fractions_of(layer[part]) for part in ("positive", "negative")) for layer in claim["layers"]]
    if not fits(layers):
        return "its layers are no network with one output whose first layer is linear"
    if slope_of(layers, claim["pattern"]) < Fraction(claim["lower"]):
        return f"its pattern has no slope of {claim['lower']}"
    leaves = claim["leaves"]
    if not covers([{int(unit): sign for unit, sign in leaf["signs"].items()} for leaf in leaves]):
        return "its leaves do not cover all signs"
    for leaf in leaves:
        signs = {int(unit): sign for unit, sign in leaf["signs"].items()}
        if bound_of(layers, signs, [Fraction(value) for value in leaf["multipliers"]]) > Fraction(claim["proved"]):
            return f"the leaf with the signs {signs} does not prove {claim['proved']}"
    return ""


def fractions_of(matrix: list[list[float]]) -> list[Row]:
    """Return the numbers of a matrix as fractions."""
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


def covers(leaves: list[dict[int, int]]) -> bool:
    """Return whether every assignment of signs is in a leaf, by a unit that all leaves fix, then by the next."""
    if any(not leaf for leaf in leaves):
        return True
    common = set.intersection(*map(set, leaves)) if leaves else set()
    if not common:
        return False
    unit = min(common)
    for sign in (1, -1):
        if not covers([{u: s for u, s in leaf.items() if u != unit} for leaf in leaves if leaf[unit] == sign]):
            return False
    return True


def bound_of(layers: list[Any], signs: dict[int, int], multipliers: Row) -> Fraction:
    """Return what the multipliers prove of a leaf; negative ones of inequalities count as 0."""
    limits = limits_of(layers)
    units = len(limits)
    r_t, r_v, r_w = [Fraction()] * len(layers[0][0][0]), [Fraction()] * units, [Fraction()] * units
    start = 0
    for k, (plus, minus) in enumerate(layers):
        before = start - len(layers[k - 1][0]) if k else 0
        for i, (p_row, n_row) in enumerate(zip(plus, minus, strict=True)):
            last = k == len(layers) - 1
            y = Fraction(1) if last else multipliers[start + i]
            if not last:
                r_v[start + i] -= y
            for j, (p, n) in enumerate(zip(p_row, n_row, strict=True)):
                if k:
                    r_v[before + j] += y * n
                    r_w[before + j] += y * (p - n)
                else:
                    r_t[j] += y * p
        start += len(plus)
    total, half = sum((abs(value) for value in r_t), Fraction()), Fraction(1, 2)
    for unit, limit in enumerate(limits):
        first, second = (max(multipliers[units * part + unit], Fraction()) for part in (1, 2))
        sign = signs.get(unit, 0)
        low, high = (-limit if sign <= 0 else Fraction()), (limit if sign >= 0 else Fraction())
        if sign:
            r_v[unit] += sign * first
            r_w[unit] += sign * (second - first)
        else:
            total += (first + second) * limit / 2
            r_v[unit] += half * (first - second)
            r_w[unit] += second - first
        total += max(low * r_v[unit], high * r_v[unit]) + max(low * r_w[unit], high * r_w[unit])
    return total


def limits_of(layers: list[Any]) -> Row:
    """Return the path norm of each unit."""
    paths, limits = [Fraction(1)] * len(layers[0][0][0]), []
    for plus, minus in layers[:-1]:
        paths = [
            sum((max(abs(p), abs(n)) * q for p, n, q in zip(*rows, paths, strict=True)), Fraction())
            for rows in zip(plus, minus, strict=True)
        ]
        limits += paths
    return limits


if __name__ == "__main__":
    main()
