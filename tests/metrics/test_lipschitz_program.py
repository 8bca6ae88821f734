"""The largest slope over all patterns is that of the slow search, and its proof is one in rational arithmetic."""

import itertools
import json
from typing import Any

import numpy as np
import pytest
import torch

from psilon_bench.errors import UsageError
from psilon_bench.export import check_certificate
from psilon_bench.export.lipschitz_claims import claims_of
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
        largest = pytest.approx(slow_largest(claim), rel=1e-5)
        assert claim.found.lower == largest
        assert claim.found.solver == largest
        assert claim.found.proved == largest
        assert claim.found.proved <= claim.path_norm * (1 + 1e-5)
        assert check_certificate.problem_of(json.loads(json.dumps(claim.as_json()))) == ""
    x, y = torch.randn(2, 2000, 3).double()
    moved = (model(x) - model(y)).abs().sum(dim=1) / (x - y).abs().amax(dim=1)
    assert moved.max() <= claims[0].found.proved


def test_the_checker_refuses_what_is_not_proved(network: Any) -> None:
    """A bound that is too small, a slope that is too large, a leaf left out, multipliers or weights changed."""
    (claim,) = claims_of(built(network, "plain", 1), [], 60)
    right = claim.as_json()
    assert len(right["leaves"]) > 1

    def problem(**changes: Any) -> str:
        return check_certificate.problem_of(json.loads(json.dumps(right | changes)))

    assert problem() == ""
    assert "does not prove" in problem(proved=right["proved"] * (1 - 1e-4), lower=0)
    assert "has no slope of" in problem(lower=right["lower"] * (1 + 1e-4))
    assert "do not cover" in problem(leaves=right["leaves"][1:])
    assert "do not cover" in problem(leaves=[])
    first, *others = right["layers"]
    heavier = {part: (2 * np.array(value)).tolist() for part, value in first.items()}
    assert "does not prove" in problem(layers=[heavier, *others])
    changed = [leaf | {"multipliers": [0.0] * len(leaf["multipliers"])} for leaf in right["leaves"]]
    assert "does not prove" in problem(leaves=changed, proved=0)


def test_time_that_ends_leaves_bounds_that_hold(network: Any) -> None:
    """With hardly any time: lower <= upper <= proved <= path norm, and the proof holds."""
    model = network("plain", 5, 1, hidden=12, depth=3)
    (claim,) = claims_of(model, [], 0.02)
    found = claim.found
    assert 0 < found.lower <= found.solver <= found.proved <= claim.path_norm * (1 + 1e-6)
    assert check_certificate.problem_of(claim.as_json()) == ""


@pytest.mark.parametrize(("hidden", "activation", "message"), [(4, "tanh", "smooth"), (5001, "relu", "at most 1000")])
def test_what_cannot_be_searched_is_refused(network: Any, hidden: int, activation: Any, message: str) -> None:
    """In one line, with what to take instead."""
    with pytest.raises(UsageError, match=f"{message}.*lipschitz_bound"):
        next(claims_of(network("plain", 1, 1, hidden=hidden, depth=1, activation=activation), [], 60))
