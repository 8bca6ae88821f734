"""Penalties on units as numbers, by hand; their gradients at dead units; the networks and optimizers they refuse."""

from typing import Any

import pytest
import torch
from unit_networks import KINDS, unit_network

from psilon_bench.config.options import options
from psilon_bench.errors import UsageError
from psilon_bench.models.mlp import MLP
from psilon_bench.regularizers.group_lasso import GroupLasso
from psilon_bench.regularizers.lp_norm import LpNorm
from psilon_bench.regularizers.path_prox import PathProx
from psilon_bench.regularizers.unit_norm_decay import UnitNormDecay
from psilon_bench.regularizers.unit_path_norm import UnitPathNorm
from psilon_bench.regularizers.unit_regularizer import UnitRegularizer
from psilon_bench.run.checks import prepare

PATH_PROX = PathProx("compensated", True, "kept")


def by_hand() -> MLP:
    """Rows (3, 4) and (0, 2); columns (1, 0) and (-3, 4); then (2, 1), in no pair; biases that must not count."""
    model = MLP(2, 1, 2, 2, None, False, "relu", "orthogonal").double()
    weights = [[[3.0, 4.0], [0.0, 2.0]], [[1.0, -3.0], [0.0, 4.0]], [[2.0, 1.0]]]
    with torch.no_grad():
        for layer, weight in zip(model.layers, weights, strict=True):
            layer.weight.copy_(torch.tensor(weight))
            layer.bias.fill_(100)
    return model


@pytest.mark.parametrize(
    ("regularizer", "expected"),
    [
        (UnitPathNorm(), 5 * 1 + 2 * 5 + (4 + 1) / 2),
        (PATH_PROX, (4 + 1) / 2),
        (UnitNormDecay(), (25 + 4 + 1 + 25 + 4 + 1) / 2),
        (GroupLasso("units"), 5 + 2 + 10**0.5 + 4 + 2 + 1),
    ],
)
def test_penalties_by_hand(regularizer: Any, expected: Any) -> None:
    """A scalar in the network's precision."""
    penalty = regularizer.penalty(by_hand())
    assert penalty.item() == pytest.approx(expected, rel=1e-14)
    assert penalty.dtype == torch.float64
    assert penalty.shape == ()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("regularizer", [UnitPathNorm(), UnitNormDecay(), GroupLasso("units"), PATH_PROX])
def test_gradients_at_dead_units_are_finite(kind: Any, regularizer: Any) -> None:
    """Also where w_k, v_k or both are 0."""
    model, x = unit_network(kind)
    with torch.no_grad():
        model.units()[0].incoming.weight[:2] = 0
        model.units()[0].outgoing.weight[:, 1:] = 0
    (model(x).mean() + regularizer.penalty(model)).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_unit_norm_decay_projects_incoming_weights_alone() -> None:
    """Rows to unit norm, dead ones stay, nothing else moves."""
    model, _ = unit_network("odd")
    assert isinstance(model, MLP)
    with torch.no_grad():
        model.layers[0].weight[1] = 0
        before = [parameter.clone() for parameter in model.parameters()]
        UnitNormDecay().after_step(model, torch.tensor(0.3).double(), {})
    for index, (old, new) in enumerate(zip(before, model.parameters(), strict=True)):
        if index in (0, 4):  # incoming weights; biases are the odd ones
            norms = old.norm(dim=1, keepdim=True)
            old = torch.where(norms > 0, old / norms, old)
        torch.testing.assert_close(new, old, rtol=1e-14, atol=0)


@pytest.mark.parametrize("reg", ["pathprox", "unit_path_norm", "unit_norm_decay"])
@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            ("model=pnet",),
            r"does not fit model=pnet: it needs pairs of plain layers .* this MLP has none \(take model=mlp",
        ),
        (
            ("model=mlp", "model.activation=tanh"),
            r"behind a homogeneous activation.*model\.activation=relu or leaky_relu",
        ),
    ],
)
def test_networks_without_homogeneous_units_are_refused(config: Any, reg: Any, model: Any, message: Any) -> None:
    """One line, with what to take instead."""
    with pytest.raises(UsageError, match=message):
        prepare(config(f"reg={reg}", "optimizer=sgd", *model))


def test_group_lasso_wants_plain_layers(config: Any) -> None:
    """A normalised network has rows of any length."""
    with pytest.raises(UsageError, match=r"reg=group_lasso does not fit model=snet: it needs plain layers"):
        prepare(config("reg=group_lasso", "model=snet"))


@pytest.mark.parametrize("optimizer", [("optimizer=adam",), ("optimizer=sgd", "optimizer.momentum=0.9")])
def test_path_prox_wants_plain_gradient_steps(config: Any, optimizer: Any) -> None:
    """Said before anything is written."""
    with pytest.raises(UsageError, match=r"reg=pathprox does not fit optimizer=(adam|sgd): .*optimizer\.momentum=0"):
        prepare(config("reg=pathprox", "model=mlp_factorized", *optimizer))


def test_layers_in_no_pair_are_named(finished: Any) -> None:
    """An odd number of layers is fine: a note says which of them has weight decay alone."""
    record = finished("reg=pathprox", "model=mlp", "optimizer=sgd", "scheduler=constant")
    (note,) = [note for note in record.run["task"]["notes"] if "no pair" in note]
    assert "with weight decay alone: layers.2 Linear(in_features=6" in note
    assert PATH_PROX.notes(unit_network("mlp")[0]) == []


def test_weight_decay_is_said_of_those_that_stand_for_it() -> None:
    """f of lam f / 2 ||W||^2: so much lambda has F_wd."""
    for section in options("reg").values():
        regularizer = section.build()
        squares = isinstance(regularizer, LpNorm) and regularizer.p == 2
        expected = 2 * regularizer.scale if squares else float(isinstance(regularizer, UnitRegularizer))
        assert regularizer.weight_decay == expected
