"""What runs record of certificates: between the old rule and the attack, rounded up, and refused before a run."""

from typing import Any

import pandas as pd
import pytest
import torch

from psilon_bench.errors import UsageError
from psilon_bench.metrics.certificate import certified_accuracy
from psilon_bench.models.baselines import Ridge
from psilon_bench.records.networks import load_network
from psilon_bench.run.checks import prepare
from psilon_bench.training.certified import upper_input_bounds, upper_lipschitz_bound

RADII = (0.03, 0.3)
WINE = (
    *("dataset=wine", f"metrics.radii=[{RADII[0]},{RADII[1]}]"),
    *("trainer.epochs=15", "trainer.eval_every=15", "optimizer.lr=0.03"),
)
RUNS = {
    "pnet": ("model=pnet",),
    "pruned": ("model=pnet", "pruner=l1_projection", "pruner.steps=10"),
    "residual": ("model=psilon_resnet",),
    "leaky": ("model=mlp", "model.activation=leaky_relu", "reg=l2"),
    "two classes": ("model=snet", "reg=l2", "dataset=breast_cancer"),
}


@pytest.mark.sampled(every=3)
@pytest.mark.parametrize("kind", RUNS)
def test_the_recorded_accuracies_ascend(finished: Any, config: Any, kind: str) -> None:
    """Old rule <= pairwise <= crown <= attack <= accuracy; the bound is that of float64, at least."""
    metrics = {}
    for certificate in ("pairwise", "crown"):
        record = finished(*WINE, *RUNS[kind], f"metrics.certificate={certificate}")
        metrics[certificate] = record.run["metrics"]
    pairwise, crown = metrics["pairwise"], metrics["crown"]
    which: Any = "pruned" if (record.folder / "pruned.pt").exists() else "model"
    network: Any = load_network(record.folder, which)[0].double()
    with torch.no_grad():
        exact = network.lipschitz_bound().item()
    assert exact <= crown["lipschitz_bound"] == pairwise["lipschitz_bound"] <= exact * (1 + 1e-4)
    assert crown["lipschitz_bound"] == pytest.approx(upper_lipschitz_bound(network))
    assert pd.read_csv(record.folder / "inputs.csv")["bound"].tolist() == pytest.approx(
        upper_input_bounds(network).tolist()
    )
    task = prepare(config(*WINE, *RUNS[kind])).task
    with torch.no_grad():
        logits = network(task.test.x.double())
    for radius in RADII:
        old = certified_accuracy(task.kind, logits, task.test.y, torch.tensor(exact), radius).item()
        name = f"test/certified_accuracy/{radius}"
        attacked = crown[f"test/attacked_accuracy/{radius}"]
        assert old <= pairwise[name] <= crown[name] <= attacked <= crown["test/accuracy"]
        assert pairwise[f"test/attacked_accuracy/{radius}"] == attacked


@pytest.mark.sampled(every=3)
@pytest.mark.parametrize("kind", ["pnet", "residual", "tanh"])
def test_the_recorded_errors_of_a_regression_descend(finished: Any, kind: str) -> None:
    """Mean absolute error <= attack <= crown <= pairwise, in units of the target; the last is the width by hand."""
    models = {"residual": "model=psilon_resnet", "tanh": "model.activation=tanh"}
    overrides = ("dataset=diabetes", *([models[kind]] if kind in models else []), f"metrics.radii={list(RADII)}")
    rungs = ("pairwise", "crown") if kind in ("pnet", "residual") else ("pairwise",)
    runs = [finished(*overrides, "trainer.epochs=15", f"metrics.certificate={rung}").run for rung in rungs]
    found, best = runs[0]["metrics"], runs[-1]["metrics"]
    for radius in RADII:
        mae, attacked = best["test/mae"], best[f"test/attacked_mae/{radius}"]
        certified, width = (f"test/certified_{name}/{radius}" for name in ("mae", "width"))
        assert mae <= attacked * (1 + 1e-5)
        assert attacked <= best[certified] <= found[certified]
        assert best[width] <= found[width]
        scale = runs[0]["task"]["target"]["scale"]
        assert found[width] == pytest.approx(2 * radius * scale * found["lipschitz_bound"], rel=1e-3)
        assert found[certified] <= mae + found[width] / 2 + 1e-6
    assert best[f"test/attacked_mae/{RADII[1]}"] > best["test/mae"]


def test_no_attack_is_recorded_where_it_has_no_steps(finished: Any) -> None:
    """With metrics.attack_steps=0 the certified accuracies stand alone."""
    metrics = finished(*WINE, "metrics.attack_steps=0").run["metrics"]
    assert [name for name in metrics if "attacked" in name] == []
    assert f"test/certified_accuracy/{RADII[0]}" in metrics


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("model=mlp", "model.activation=tanh"), "needs an activation of two slopes.*metrics.certificate=pairwise"),
        (("model=random_forest", "reg=none"), "RandomForest of model=random_forest does not tell their slopes"),
    ],
)
def test_crown_is_refused_before_the_run(config: Any, overrides: Any, message: str) -> None:
    """In one line, with the remedy, of regressions too; where nothing is certified any certificate will do."""
    with pytest.raises(UsageError, match=message):
        prepare(config("metrics.certificate=crown", "dataset=wine", *overrides))
    with pytest.raises(UsageError, match=message):
        prepare(config("metrics.certificate=crown", "dataset=diabetes", *overrides))
    prepare(config("metrics.certificate=crown", "dataset=wine", "metrics.radii=[]", *overrides))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("dataset=diabetes",), "decides whether rows keep their class, and diabetes is a regression.*=crown"),
        (("model.hidden=700", "model.depth=3"), "branches on units, of at most 2000, .*2100, .*exact_seconds.*=crown"),
        (("model.activation=tanh",), "=exact needs an activation of two slopes"),
        (("metrics.exact_seconds=0",), "exact_seconds=0"),
    ],
)
def test_exact_is_refused_before_the_run(config: Any, overrides: Any, message: str) -> None:
    """In one line, with what to take instead."""
    with pytest.raises(UsageError, match=message):
        prepare(config("dataset=wine", "model=pnet", "metrics.certificate=exact", *overrides))


def test_the_exact_rung_is_recorded(finished: Any) -> None:
    """With how many rows it leaves open."""
    found = finished(*WINE, "metrics.certificate=exact").run["metrics"]
    for radius in RADII:
        certified, attacked = (found[f"test/{name}_accuracy/{radius}"] for name in ("certified", "attacked"))
        assert found[f"test/num_undecided/{radius}"] == round(36 * (attacked - certified))


@pytest.mark.parametrize("left_out", [None, 1])
def test_the_layer_of_ridge_is_ridge(task: Any, left_out: int | None) -> None:
    """With a class that no training row has, too."""
    made = task("multiclass")
    keep = made.train.y != (-1 if left_out is None else left_out)
    model = Ridge(5, 3, 1.0, 1000)
    model.fit("multiclass", type(made.train)(made.train.x[keep], made.train.y[keep]), seed=0)
    (layer,) = model.slope_layers()
    x = made.test.x.double()
    torch.testing.assert_close(x @ layer.positive.T + layer.bias, model.logits("multiclass", x))
