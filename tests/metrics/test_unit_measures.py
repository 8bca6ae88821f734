"""Counts of units and the objectives of weight decay: by hand, their inequality, and in the history of a run."""

from typing import Any

import pandas as pd
import pytest
import torch
from torch.nn import functional as F
from unit_networks import KINDS, unit_network

from psilon_bench.config.options import options
from psilon_bench.metrics.units import unit_measures, weight_decay_objectives
from psilon_bench.models.factorized_mlp import FactorizedMLP
from psilon_bench.models.mlp import MLP
from psilon_bench.models.units import incoming_norms, outgoing_norms, scale_incoming, scale_outgoing
from psilon_bench.run.checks import prepare
from psilon_bench.training.engine import Row
from psilon_bench.training.engines import build_trainer


@pytest.mark.parametrize(("threshold", "first", "second"), [(0.0, 2, 4), (1e-3, 1, 4), (2.0, 1, 0), (5.0, 0, 0)])
def test_counts_by_hand(threshold: Any, first: Any, second: Any) -> None:
    """Sizes 0, 0 (w = 0), 8e-4 and 5 in the first pair, all 2 in the second; at the threshold is not above it."""
    model = MLP(1, 2, 4, 3, None, False, "relu", "orthogonal").double()
    with torch.no_grad():
        for layer in model.layers:
            layer.weight.zero_()
        model.layers[0].weight[:, 0] = torch.tensor([3.0, 0.0, 4e-4, -1.0], dtype=torch.float64)
        model.layers[1].weight[0] = torch.tensor([0.0, 7.0, -2.0, 5.0])
        model.layers[2].weight[:, 1] = 2.0
        model.layers[3].weight[1] = -1.0
    measured = {name: value.item() for name, value in unit_measures(model, threshold).items()}
    assert measured == {
        "unit_path_norm": pytest.approx(8e-4 + 5 + 4 * 2, rel=1e-14),
        "unit_sparsity": (8 - first - second) / 8,
        "units/zero": 2,
        "units/active/1": first,
        "units/active/2": second,
    }


@pytest.mark.parametrize("kind", KINDS)
def test_the_raw_objective_is_never_below(kind: Any) -> None:
    """F_pn <= F_wd, equal once every unit is balanced; both are the loss at lam = 0."""
    model, x = unit_network(kind)
    loss, lam = model(x).square().mean(), torch.tensor(0.3).double()
    before = weight_decay_objectives(model, loss, lam)
    assert before["wd_objective"] < before["wd_objective_raw"] - 0.01
    assert {value.item() for value in weight_decay_objectives(model, loss, 0 * lam).values()} == {loss.item()}
    with torch.no_grad():
        for pair in model.units():
            factors = (outgoing_norms(pair) / incoming_norms(pair)).sqrt()
            scale_incoming(pair, factors)
            scale_outgoing(pair, 1 / factors)
    for value in weight_decay_objectives(model, loss, lam).values():
        torch.testing.assert_close(value, before["wd_objective"], rtol=1e-12, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_raw_objective_is_that_of_l2(kind: Any) -> None:
    """loss + lam * the penalty of reg=l2 reg.scale=0.5."""
    model, x = unit_network(kind)
    loss, lam = model(x).square().mean(), torch.tensor(0.3).double()
    l2 = type(options("reg")["l2"]).model_validate(options("reg")["l2"].model_dump(by_alias=True) | {"scale": 0.5})
    expected = loss + lam * l2.build().penalty(model)
    torch.testing.assert_close(weight_decay_objectives(model, loss, lam)["wd_objective_raw"], expected)


@pytest.mark.parametrize("dataset", ["wine", "diabetes"])
def test_the_history_has_the_objective_over_all_training_rows(config: Any, dataset: Any) -> None:
    """wd_objective of the last row == loss of the final network on the training rows + its own lambda's penalty."""
    common = ("model=mlp_factorized", "model.hidden=5", f"dataset={dataset}", "tracking=none", "trainer.epochs=3")
    lams = (0.01, 0.3)
    runs = [config(*common, "reg=l2", "reg.scale=0.5", f"reg.lam={lam}", f"seed={i}") for i, lam in enumerate(lams)]
    members = [prepare(run) for run in runs]
    rows: list[Row] = [{}, {}]
    fit = build_trainer(members)
    fit.run(lambda member, row: rows[member].update(row))
    for index, (member, lam) in enumerate(zip(members, lams, strict=True)):
        network, train = fit.stack.network(index), member.task.train
        assert isinstance(network, FactorizedMLP)
        logits = network(train.x.double())
        loss = F.cross_entropy(logits, train.y) if dataset == "wine" else F.mse_loss(logits, train.y.double())
        path = sum((incoming_norms(pair) * outgoing_norms(pair)).sum() for pair in network.units())
        squares = sum(weight.square().sum() for weight in network.weights())
        assert rows[index]["wd_objective"] == pytest.approx((loss + lam * path).item(), rel=1e-12)
        assert rows[index]["wd_objective_raw"] == pytest.approx((loss + lam / 2 * squares).item(), rel=1e-12)


def test_other_regularizers_have_no_weight_decay_objective(config: Any) -> None:
    """Their lambda is no lambda of weight decay."""
    fit = build_trainer(
        [prepare(config("model=mlp", "model.hidden=5", "reg=lasso", "tracking=none", "trainer.epochs=1"))]
    )
    rows = []
    fit.run(lambda member, row: rows.append(row))
    assert "unit_sparsity" in rows[0]
    assert "wd_objective" not in rows[0]


def test_the_threshold_is_an_option(finished: Any) -> None:
    """Of the history and of the finished network: the sizes of all units lie between the two."""
    for threshold, sparsity in ((1e-9, 0), (1e9, 1)):
        record = finished("model=mlp", "dataset=wine", f"metrics.unit_threshold={threshold}")
        history = pd.read_csv(record.folder / "history.csv")
        assert record.run["metrics"]["unit_sparsity"] == sparsity
        assert set(history["unit_sparsity"]) == {sparsity}
        assert record.run["metrics"]["units/active/1"] == (0 if sparsity else 6)
