"""Semidefinite bounds of slopes: above all patterns, within what is known of the relaxation, proved by the checker."""

import json
import time
from typing import Any

import numpy as np
import pytest
from scipy.linalg import hadamard

from psilon_bench.export import check_certificate
from psilon_bench.export.lipschitz_claims import claims_of
from psilon_bench.metrics.semidefinite_bounds import Bound, edge, least_bound, normalised, programme
from psilon_bench.metrics.semidefinite_search import SemidefiniteSearch
from psilon_bench.metrics.slope_bounds import FREE, SlopeNetwork, jacobian, upper_bounds
from psilon_bench.metrics.steepest_pattern import steepest_pattern


def net_of(network: Any, kind: str, **sizes: int) -> tuple[SlopeNetwork, dict[str, Any]]:
    """A network with one output, and its claim."""
    activation = "leaky_relu" if kind == "snet" else "relu"
    (claim,) = claims_of(network(kind, 4, 1, activation=activation, **sizes), [], 60)
    return SlopeNetwork.of(claim.layers), json.loads(json.dumps(claim.as_json()))


def l1_norm_of(matrix: np.ndarray) -> SlopeNetwork:
    """The network t -> |A t|_1, whose largest slope is the norm of A from L_inf to L1."""
    ones = np.ones((1, len(matrix)))
    return SlopeNetwork([matrix, ones], [matrix, -ones])


def bound_of(net: SlopeNetwork, fixed: np.ndarray | None = None, enough: float = 0.0) -> tuple[Bound, float]:
    """What bounds a node, and the bound, more exact where it is near what is enough."""
    fixed = np.full(sum(net.widths), FREE) if fixed is None else fixed
    found = least_bound(programme(normalised(net), fixed), enough / net.path_norm, time.monotonic() + 60)
    return found, found.square.sum() * net.path_norm


def test_a_hadamard_matrix_has_the_norm_of_its_relaxation() -> None:
    """sum |H t| <= n sqrt(n) by Cauchy-Schwarz, which the relaxation finds; linear bounds see the n^2 entries alone."""
    net = l1_norm_of(hadamard(8).astype(float))
    assert bound_of(net, enough=8 * 8**0.5)[1] == pytest.approx(8 * 8**0.5, rel=1e-5)
    assert upper_bounds(net, np.full((1, 16), FREE))[0][0] == pytest.approx(64)


def test_the_relaxation_is_within_the_constant_of_grothendieck() -> None:
    """Of any matrix the norm from L_inf to L1 is at least its relaxation over 1.7823 (Krivine 1979)."""
    draw = np.random.default_rng(0)
    corners = np.array(np.meshgrid(*[(-1, 1)] * 7)).reshape(7, -1)
    for _ in range(4):
        matrix = draw.normal(size=(6, 7)) * draw.lognormal(size=(6, 1)) * (draw.random((6, 7)) < 0.8)
        exact = abs(matrix @ corners).sum(axis=0).max()
        bound = bound_of(l1_norm_of(matrix), enough=exact)[1]
        assert exact * (1 - 1e-9) <= bound <= 1.7823 * exact


@pytest.mark.parametrize("kind", ["pnet", "snet", "plain"])
def test_nodes_are_bounded_above_all_their_patterns(network: Any, kind: str) -> None:
    """Whatever is fixed; the slope itself where all units are; and by any lam and mu in whole numbers, too."""
    net, _ = net_of(network, kind, hidden=4, depth=2)
    draw, inputs = np.random.default_rng(0), net.widths[0]
    exact = [
        [check_certificate.fractions_of(own.tolist()) for own in two]
        for two in zip(net.positive, net.negative, strict=True)
    ]
    whole = check_certificate.Whole(exact)
    for share in (0.0, 0.3, 0.7):
        corner = np.concatenate([2 * draw.integers(0, 2, inputs) - 1, draw.integers(0, 2, sum(net.widths[1:]))])
        fixed = np.where(draw.random(len(corner)) < share, corner, FREE)
        found, bound = bound_of(net, fixed)
        any_lam, any_mu = draw.normal(size=len(found.unit)), draw.normal(size=len(found.square))
        proved = float(whole.semidefinite(fixed, found.unit.tolist(), found.square.tolist()) * whole.path_norm)
        assert proved == pytest.approx(bound, rel=1e-8)
        loose = float(whole.semidefinite(fixed, any_lam.tolist(), any_mu.tolist()) * whole.path_norm)
        for _ in range(40):
            other = np.concatenate([2 * draw.integers(0, 2, inputs) - 1, draw.integers(0, 2, sum(net.widths[1:]))])
            own = np.where(fixed == FREE, other, fixed)
            slope = jacobian(net, np.split(own[inputs:], np.cumsum(net.widths[1:])[:-1])) @ own[:inputs]
            assert slope <= min(proved, loose) * (1 + 1e-12)
    units = np.concatenate([np.full(inputs, FREE), corner[inputs:]])
    slope = abs(jacobian(net, np.split(corner[inputs:], np.cumsum(net.widths[1:])[:-1]))).sum()
    assert bound_of(net, units, slope)[1] == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("kind", ["pnet", "plain"])
def test_the_search_closes_and_is_proved(network: Any, kind: str) -> None:
    """Its bounds are those of the linear search; proofs of less, of other leaves or of other numbers are refused."""
    net, right = net_of(network, kind, hidden=6, depth=2)
    search = SemidefiniteSearch(net, *steepest_pattern(net, 1))
    search.run(time.monotonic() + 60)
    assert search.lower == pytest.approx(right["lower"], rel=1e-9)
    assert search.bound == pytest.approx(right["lower"], rel=2e-6)
    assert len(search.tree.split) > 1 or kind == "pnet"
    own = {"proved": search.bound, "tree": search.tree.preorder(), "proofs": search.tree.leaf_proofs()}
    claim = json.loads(json.dumps(right | own))
    assert check_certificate.problem_of(claim) == ""
    assert "does not prove" in check_certificate.problem_of(claim | {"lower": 0, "proved": search.bound * (1 - 1e-5)})
    assert "does not prove" in check_certificate.problem_of(claim | {"proofs": []})
    assert "not whole" in check_certificate.problem_of(claim | {"tree": claim["tree"][:-1]})
    first, *others = claim["proofs"]
    for part, rows in first.items():
        none = first | {part: [0.0 for _ in rows]}
        assert "does not prove" in check_certificate.problem_of(claim | {"proofs": [none, *others]})
        for wrong in (rows[:-1], rows[:1], [*rows, 1.0]):
            text = json.dumps({"claims": [claim | {"proofs": [first | {part: wrong}, *others]}]})
            with pytest.raises(ValueError, match="no file of"):
                list(check_certificate.problems_of(text))


def test_time_that_ends_leaves_a_bound_that_holds(network: Any) -> None:
    """A node that is bounded too late is no part of the tree."""
    net, right = net_of(network, "plain", hidden=6, depth=2)
    search = SemidefiniteSearch(net, *steepest_pattern(net, 1))
    search.run(time.monotonic())
    assert search.tree.preorder() == [None]
    own = {"proved": search.bound, "tree": [None], "proofs": search.tree.leaf_proofs(), "lower": 0}
    assert check_certificate.problem_of(json.loads(json.dumps(right | own))) == ""


def cancelled() -> SlopeNetwork:
    """A linear network whose paths cancel, so that all slopes are 0."""
    draw = np.random.default_rng(0)
    first, same = draw.normal(size=(6, 5)), draw.normal(size=(6, 6))
    layers = [first, np.concatenate([same, same]), np.repeat([[1.0, -1.0]], 6, axis=1)]
    return SlopeNetwork(layers, layers)


def deep() -> SlopeNetwork:
    """A network with ReLU whose values are far smaller than their path norms."""
    draw = np.random.default_rng(0)
    layers = [draw.normal(size=(after, 6)) for after in [*[6] * 15, 1]]
    return SlopeNetwork(layers, [layers[0], *(0 * own for own in layers[1:])])


@pytest.mark.parametrize("net", [cancelled(), deep()])
def test_bounds_are_above_what_float64_rounds(net: SlopeNetwork) -> None:
    """What is said of a node is what the checker finds in whole numbers, or more."""
    search = SemidefiniteSearch(net, np.zeros(sum(net.widths[1:])), 0.0)
    fixed = np.full(sum(net.widths), FREE)
    node = search.bounded(normalised(net), fixed, time.monotonic() + 60)
    layers = [
        tuple(check_certificate.fractions_of(own.tolist()) for own in two)
        for two in zip(net.positive, net.negative, strict=True)
    ]
    whole = check_certificate.Whole(layers)
    assert whole.path_norm * whole.semidefinite(fixed, **node.proof) <= node.proved


def test_a_step_from_outside_ends() -> None:
    """Rounding may have left the cone: shorter and shorter steps would never be in it."""
    with pytest.raises(np.linalg.LinAlgError):
        edge(np.diag([1.0, 0.0]), -np.eye(2))


def test_a_negative_price_of_a_square_proves_nothing() -> None:
    """Of a dead unit M has lam + mu on the diagonal alone, so that lam = 1 and mu = -1 would take 1 off the bound."""
    steps = [[[[1.0], [0.0]]] * 2, [[[1.0, 1.0]], [[0.0, 0.0]]]]
    whole = check_certificate.Whole([[check_certificate.fractions_of(own) for own in two] for two in steps])
    fixed = np.full(3, FREE)
    found = least_bound(programme(SlopeNetwork(*steps_of(steps)), fixed), 1.0, time.monotonic() + 60)
    honest = whole.semidefinite(fixed, found.unit.tolist(), found.square.tolist())
    unit, square = found.unit.tolist(), found.square.tolist()
    unit[1], square[3] = 1.0, -1.0
    assert honest >= 1
    assert whole.semidefinite(fixed, unit, square) >= 1


def steps_of(layers: list[Any]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """P and N of all layers."""
    return [np.array(plus) for plus, _ in layers], [np.array(minus) for _, minus in layers]
