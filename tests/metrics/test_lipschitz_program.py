"""The largest slope over all patterns is that of the slow search, and its proof is one in rational arithmetic."""

import itertools
import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from psilon_bench.errors import UsageError
from psilon_bench.export import check_certificate
from psilon_bench.export.lipschitz_claims import claims_of
from psilon_bench.metrics.lipschitz_program import SlopeSearch, rounded
from psilon_bench.metrics.slope_bounds import FREE, SlopeNetwork, jacobian, upper_bounds
from psilon_bench.metrics.steepest_pattern import steepest_pattern
from psilon_bench.models.crelu_resnet import CReLUResNet

KINDS = ("pnet", "snet", "plain", "residual")


def slow_largest(claim: Any) -> float:
    """The largest |J|_1 over all patterns, one by one."""
    layers = [(layer.positive.numpy(), layer.negative.numpy()) for layer in claim.layers]
    sizes, found = [len(plus) for plus, _ in layers[:-1]], 0.0
    for pattern in itertools.product((0, 1), repeat=sum(sizes)):
        parts = np.split(np.array(pattern), np.cumsum(sizes)[:-1])
        jacobian = layers[0][0]
        for (plus, minus), own in zip(layers[1:], parts, strict=True):
            jacobian = np.where(own, plus, minus) @ jacobian
        found = max(found, abs(jacobian).sum())
    return found


def built(network: Any, kind: str, outputs: int) -> Any:
    if kind != "residual":
        activation = "leaky_relu" if kind == "snet" else "relu"
        return network(kind, 3, outputs, hidden=5 - outputs, depth=2, activation=activation)
    model = CReLUResNet(3, outputs, 5 - outputs, 2, 1, share=True).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return model


@pytest.mark.sampled(every=2)
@pytest.mark.parametrize(
    ("kind", "outputs"),
    [
        *zip(KINDS, (1, 2, 1, 2), strict=True),
        *(pytest.param(*other, marks=pytest.mark.slow) for other in zip(KINDS, (2, 1, 2, 1), strict=True)),
    ],
)
def test_the_largest_slope_is_that_of_the_slow_search(network: Any, kind: str, outputs: int) -> None:
    """Of all outputs and of each, lower = upper = proved; no two points are further apart; the checker agrees."""
    model = built(network, kind, outputs)
    claims = list(claims_of(model, [f"c{k}" for k in range(outputs)], 60))
    assert len(claims) == (1 if outputs == 1 else 3)
    for claim in claims:
        largest = slow_largest(claim)
        assert claim.found.lower <= largest <= claim.found.proved
        assert claim.found.lower == pytest.approx(largest, rel=1e-9)
        assert claim.found.proved == pytest.approx(largest, rel=1e-4)
        assert claim.found.proved <= claim.path_norm * (1 + 1e-5)
        assert check_certificate.problem_of(json.loads(json.dumps(claim.as_json()))) == ""
    x, y = torch.randn(2, 2000, 3).double()
    moved = (model(x) - model(y)).abs().sum(dim=1) / (x - y).abs().amax(dim=1)
    assert moved.max() <= claims[0].found.proved


@pytest.mark.parametrize("kind", ["pnet", "snet", "plain", "residual"])
def test_nodes_are_bounded_above_all_their_patterns(network: Any, kind: str) -> None:
    """Whatever inputs and units are fixed, no pattern and corner is above; with all fixed the bound is the slope."""
    (claim,) = claims_of(built(network, kind, 1), [], 60)
    net, draw = SlopeNetwork.of(claim.layers), np.random.default_rng(0)
    inputs, units = net.widths[0], sum(net.widths[1:])
    whole = np.concatenate([2 * draw.integers(0, 2, (60, inputs)) - 1, draw.integers(0, 2, (60, units))], axis=1)
    parts = np.split(whole, np.cumsum(net.widths)[:-1], axis=1)
    slopes = np.array([jacobian(net, [part[row] for part in parts[1:]]) @ whole[row, :inputs] for row in range(60)])
    for share in (0.0, 0.4, 0.8, 1.0):
        bounds, scores = upper_bounds(net, np.where(draw.random(whole.shape) < share, whole, FREE))
        assert (bounds >= slopes - 1e-9).all()
        if share == 1:
            np.testing.assert_allclose(bounds, slopes, atol=1e-9)
            assert (scores == -1).all()


def test_the_checker_refuses_what_is_not_proved(network: Any) -> None:
    """A bound that is too small, a slope that is too large, a leaf left out or never split, weights changed."""
    (claim,) = claims_of(built(network, "plain", 1), [], 60)
    right = claim.as_json()
    assert len(right["tree"]) > 3

    def problem(**changes: Any) -> str:
        return check_certificate.problem_of(json.loads(json.dumps(right | changes)))

    assert problem() == ""
    assert "does not prove" in problem(proved=right["proved"] * (1 - 1e-4), lower=0)
    assert "has no slope of" in problem(lower=right["lower"] * (1 + 1e-4))
    assert "not whole" in problem(tree=right["tree"][:-1])
    assert "not whole" in problem(tree=[])
    assert "does not prove" in problem(tree=[None])
    first, *others = right["layers"]
    heavier = {part: (2 * np.array(value)).tolist() for part, value in first.items()}
    assert "does not prove" in problem(layers=[heavier, *others])
    for tree in ([*right["tree"], None], ["x"]):
        with pytest.raises(ValueError, match="no file of"):
            list(check_certificate.problems_of(json.dumps({"claims": [right | {"tree": tree}]})))


def test_the_checker_refuses_the_smallest_mistakes(network: Any) -> None:
    """The bound of its worst leaf is proved, one ulp less is not; nor is a tree that drops a leaf or swaps branches."""
    (claim,) = claims_of(built(network, "plain", 1), [], 60)
    right = claim.as_json()
    low, high = right["lower"], right["proved"]
    while (middle := (low + high) / 2) not in (low, high):
        problem = check_certificate.problem_of(right | {"proved": middle, "lower": 0})
        low, high = (middle, high) if problem else (low, middle)
    assert math.nextafter(low, math.inf) == high
    assert check_certificate.problem_of(right | {"proved": high}) == ""
    assert "does not prove" in check_certificate.problem_of(right | {"proved": low, "lower": 0})
    tree, refused = right["tree"], 0
    for place, split in enumerate(tree):
        if split is None:
            assert "not whole" in check_certificate.problem_of(right | {"tree": tree[:place]})
        else:
            first = place + 1 + size_of(tree[place + 1 :])
            last = first + size_of(tree[first:])
            swapped = [*tree[: place + 1], *tree[first:last], *tree[place + 1 : first], *tree[last:]]
            refused += "does not prove" in check_certificate.problem_of(right | {"tree": swapped})
    assert refused
    for place in (-1, 99):
        with pytest.raises(ValueError, match="no file of"):
            list(check_certificate.problems_of(json.dumps({"claims": [right | {"tree": [place, None, None]}]})))


def size_of(tree: list[int | None]) -> int:
    """How many nodes the tree has that these begin with, in preorder."""
    left = 1
    for size, split in enumerate(tree, start=1):
        left += -1 if split is None else 1
        if not left:
            return size
    raise AssertionError("the tree is not whole")


@pytest.mark.parametrize("kind", KINDS)
def test_whole_numbers_bound_as_float64_does(network: Any, kind: str) -> None:
    """Nodes' bounds in the checker are above their patterns' slopes, and above float64 by what is said to be rounded.

    Units are rescaled by up to 2^40 and back, which is the same function, and one is dead.
    """
    (claim,) = claims_of(built(network, kind, 1), [], 60)
    net, draw = SlopeNetwork.of(claim.layers), np.random.default_rng(0)
    layers = [[plus.copy(), minus.copy()] for plus, minus in zip(net.positive, net.negative, strict=True)]
    for before, after in itertools.pairwise(layers):
        scale = 2.0 ** draw.integers(-40, 40, len(before[0]))
        scale[0] = 0
        for own in before:
            own *= scale[:, None]
        for own in after:
            own /= np.where(scale, scale, 1)
    net = SlopeNetwork([plus for plus, _ in layers], [minus for _, minus in layers])
    whole = check_certificate.Whole([[check_certificate.fractions_of(own.tolist()) for own in two] for two in layers])
    assert float(whole.path_norm) == pytest.approx(net.path_norm)
    inputs, units = net.widths[0], sum(net.widths[1:])
    corners = np.concatenate([2 * draw.integers(0, 2, (60, inputs)) - 1, draw.integers(0, 2, (60, units))], axis=1)
    parts = np.split(corners, np.cumsum(net.widths)[:-1], axis=1)
    slopes = np.array([jacobian(net, [part[row] for part in parts[1:]]) @ corners[row, :inputs] for row in range(60)])
    for share in (0.0, 0.4, 0.8, 1.0):
        fixed = np.where(draw.random(corners.shape) < share, corners, FREE)
        bounds = whole.bounds(fixed) / check_certificate.ONE * net.path_norm
        off = bounds - upper_bounds(net, fixed)[0]
        assert (bounds >= slopes - 1e-13 * net.path_norm).all()
        assert (off >= -1e-13 * net.path_norm).all()
        assert (off <= rounded(net)).all()


def test_the_checker_refuses_what_is_no_such_network(network: Any) -> None:
    """A first layer with a kink, whose second slope the bound would not see; several outputs; shapes that differ."""
    (claim,) = claims_of(built(network, "plain", 1), [], 60)
    right = claim.as_json()
    first, *between, last = right["layers"]
    kinked = first | {"negative": (100 * np.array(first["negative"])).tolist()}
    two = {part: 2 * rows for part, rows in last.items()}
    narrow = {part: [row[:-1] for row in rows] for part, rows in last.items()}
    for layers in ([kinked, *between, last], [first, *between, two], [first, *between, narrow]):
        assert "no network" in check_certificate.problem_of(right | {"layers": layers})


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_no_number_is_proved(network: Any, number: float) -> None:
    """Neither as a bound nor as a weight; and a proved claim hides no other of the same name."""
    (claim,) = claims_of(built(network, "plain", 1), [], 60)
    right = claim.as_json()
    with pytest.raises(ValueError, match="a number"):
        list(check_certificate.problems_of(json.dumps({"claims": [right | {"proved": number}]})))
    wrong = right | {"proved": 0.0}
    problems = list(check_certificate.problems_of(json.dumps({"claims": [wrong, right]})))
    assert [bool(problem) for _, problem in problems] == [True, False]


def test_claims_are_told_one_by_one(network: Any) -> None:
    """The first is there before the second is looked at; where nothing is known from below, the gap is not 0."""
    (claim,) = claims_of(built(network, "plain", 1), [], 60)
    found = iter(check_certificate.problems_of(json.dumps({"claims": [claim.as_json(), {"of": "x"}]})))
    told = f"all outputs (L1), lower {claim.found.lower}, upper {claim.found.proved}"
    assert next(found) == (told, "")
    with pytest.raises(ValueError, match="no file of"):
        next(found)
    assert claim.found.gap == pytest.approx(claim.found.proved / claim.found.lower - 1)
    assert replace(claim.found, lower=0.0).gap == math.inf
    assert replace(claim.found, lower=0.0, proved=0.0).gap == 0


def test_wide_networks_bound_fewer_nodes_at_once() -> None:
    """Their matrices (node, unit, unit) would take gigabytes."""
    draw = np.random.default_rng(0)
    layers = [draw.normal(size=(400, 2)), draw.normal(size=(1, 400))]
    search = SlopeSearch(SlopeNetwork(layers, [layers[0], 0 * layers[1]]))
    sizes = [len(search.tree.split)]
    for _ in range(8):
        search.step(0.0)
        sizes.append(len(search.tree.split))
    assert np.diff(sizes).tolist() == [2, 4, 8, 16, 32, 64, 104, 104]  # 2^24 numbers at most
    for seconds, nodes in ((7.5, 6), (5.5, 4), (-1.0, 2)):  # at least one is split
        search.node_s, before = 1.0, len(search.tree.split)
        search.step(0.0, seconds)
        assert len(search.tree.split) - before == nodes


def test_time_that_ends_leaves_bounds_that_hold(network: Any) -> None:
    """With hardly any time: lower <= upper <= proved <= path norm, and the proof holds."""
    model = network("plain", 5, 1, hidden=12, depth=3)
    (claim,) = claims_of(model, [], 0.02)
    found = claim.found
    assert 0 < found.lower <= found.proved <= claim.path_norm * (1 + 1e-5)
    assert check_certificate.problem_of(claim.as_json()) == ""


def test_steep_patterns_are_looked_for_until_the_time_ends() -> None:
    """A hundred starts of a network of many layers would take a minute; the first is always there."""
    draw = np.random.default_rng(0)
    layers = [draw.normal(size=(6, 6)) for _ in range(4)] + [draw.normal(size=(1, 6))]
    net = SlopeNetwork(layers, [layers[0], *(0 * own for own in layers[1:])])
    (one, _), (pattern, slope), (_, best) = (
        steepest_pattern(net, 1),
        steepest_pattern(net, 100, deadline=-math.inf),
        steepest_pattern(net, 100),
    )
    assert pattern.tolist() == one.tolist()
    assert slope < best


@pytest.mark.parametrize(("hidden", "activation", "message"), [(4, "tanh", "smooth"), (5001, "relu", "at most 1000")])
def test_what_cannot_be_searched_is_refused(network: Any, hidden: int, activation: Any, message: str) -> None:
    """In one line, with what to take instead."""
    with pytest.raises(UsageError, match=f"{message}.*lipschitz_bound"):
        next(claims_of(network("plain", 1, 1, hidden=hidden, depth=1, activation=activation), [], 60))
