"""Real runs with a pruner: what is written, what comes back from it, what is refused."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_diabetes, load_wine

from psilon_bench.config.options import options
from psilon_bench.errors import UsageError
from psilon_bench.models.compact import alive_units
from psilon_bench.models.offers import HasWeights
from psilon_bench.pruning.pruner import Pruner
from psilon_bench.pruning.units import Units
from psilon_bench.records.networks import load
from psilon_bench.run.checks import prepare

VALUES = {"steps": 6, "strength": 2, "amount": 0.8, "max_change": 30}  # those of them that a pruner has


def overrides(pruner: Any) -> Any:
    """The pruner with those of VALUES that are its arguments."""
    own = [f"pruner.{key}={value}" for key, value in VALUES.items() if key in options("pruner")[pruner].arguments]
    return [f"pruner={pruner}", *own]


# those of units need other networks: tests/pruning/test_unit_pruning.py
KINDS = {name: type(section.build()) for name, section in options("pruner").items()}
PRUNERS = [name for name, kind in KINDS.items() if kind is not Pruner and not issubclass(kind, Units)]
RAW = {"wine": partial(load_wine, as_frame=True), "diabetes": partial(load_diabetes, as_frame=True, scaled=False)}
MODELS = [("pnet", "wine"), ("pnet", "diabetes"), ("psilon_resnet", "wine")]


@pytest.mark.parametrize(
    ("pruner", "model", "dataset"),
    [
        pytest.param(pruner, *own, marks=[] if pruner == "l1_projection" or own == MODELS[0] else pytest.mark.slow)
        for pruner in PRUNERS
        for own in MODELS
    ],
)
def test_a_pruned_run_comes_back_as_plain_networks(finished: Any, pruner: Any, model: Any, dataset: Any) -> None:
    """pruned.pt and compact.pt have the exact zeros and give the recorded test loss and each other's predictions."""
    record = finished(f"model={model}", f"dataset={dataset}", *overrides(pruner), "model.hidden=12")
    metrics, raw = record.run["metrics"], RAW[dataset]().data
    pruned = load(record.folder, "pruned")
    assert isinstance(pruned.network, HasWeights)
    zeros = sum(int((w == 0).sum()) for w in pruned.network.weights())
    total = sum(w.numel() for w in pruned.network.weights())
    assert metrics["weight_sparsity"] == pytest.approx(zeros / total)
    assert metrics["num_nonzero"] == total - zeros
    assert zeros > (0 if pruner == "projected" else 0.3 * total)
    if (record.folder / "compact.pt").exists():
        compact = load(record.folder, "compact")
        np.testing.assert_allclose(compact.predict(raw), pruned.predict(raw), atol=1e-6)
        assert compact.inputs is not None
        assert len(compact.inputs) == max(1, metrics["num_inputs"])
    if pruner == "l1_projection":
        trained = torch.load(record.folder / "model.pt", weights_only=True)
        assert any(name.endswith(".v") for name in trained)


def test_the_recorded_scores_are_those_of_the_pruned_network(finished: Any, config: Any) -> None:
    """test/loss is that of pruned.pt on the test rows; unpruned/val/loss that of the network a step before."""
    record = finished("dataset=diabetes", "pruner=magnitude", "pruner.amount=0.95", "model.hidden=20")
    task = prepare(config("dataset=diabetes")).task
    network = load(record.folder, "pruned").network
    loss = torch.nn.functional.mse_loss(network(task.test.x.double()), task.test.y).sqrt().item()
    assert record.run["metrics"]["test/loss"] == pytest.approx(loss, rel=1e-5)
    rows = pd.read_csv(record.folder / "history.csv")
    assert record.run["metrics"]["unpruned/val/loss"] == pytest.approx(rows["val/loss"].iloc[-1], rel=1e-5)
    assert record.run["metrics"]["val/loss"] != pytest.approx(rows["val/loss"].iloc[-1], rel=1e-3)


@pytest.mark.parametrize("amount", [0.5, 0.9, 0.99])
def test_alive_units_lie_on_paths(amount: Any) -> None:
    """|W_k| ... |W_1| 1 and 1^T |W_K| ... |W_(k+1)| are both above 0 there, and only there; layers of uneven width."""
    weights = [torch.randn(shape).double() for shape in ((9, 5), (14, 9), (6, 14), (2, 6))]
    weights = [weight * (torch.rand_like(weight) > amount) for weight in weights]
    for k, alive in enumerate(alive_units(weights), start=1):
        forward, backward = torch.ones(5).double(), torch.ones(2).double()
        for weight in weights[:k]:
            forward = weight.abs() @ forward
        for weight in reversed(weights[k:]):
            backward = backward @ weight.abs()
        assert alive.tolist() == ((forward > 0) & (backward > 0)).tolist()


def test_dead_units_are_listed(finished: Any) -> None:
    """In units.csv, by layer and index: as many alive as the compact network has, and no weight between the dead."""
    record = finished(
        "model=mlp", "reg=l2", "dataset=wine", "pruner=magnitude", "pruner.amount=0.95", "model.hidden=12"
    )
    units = pd.read_csv(record.folder / "units.csv")
    assert units.groupby("layer")["unit"].apply(list).tolist() == [list(range(12))] * 2
    counts = units.groupby("layer")["alive"].sum()
    assert {f"num_units/layer{k}": max(1, count) for k, count in counts.items()}.items() <= record.run[
        "metrics"
    ].items()
    network = load(record.folder, "pruned").network
    assert isinstance(network, HasWeights)
    first, second, last = (weight != 0 for weight in network.weights())
    one = units[units["layer"] == 2]
    assert one["reads"].tolist() == second.sum(dim=1).tolist()
    assert one["read"].tolist() == last.sum(dim=0).tolist()
    assert units[units["layer"] == 1]["reads"].tolist() == first.sum(dim=1).tolist()
    assert not (finished("dataset=wine", "model.hidden=4").folder / "units.csv").exists()


def test_the_projection_does_not_change_the_path_norm_of_a_run(finished: Any) -> None:
    """The last row of the history, blended, and the pruned network agree in their path norms."""
    record = finished("pruner=l1_projection", "pruner.steps=4", "model=pnet", "hardware.precision=float64")
    rows = pd.read_csv(record.folder / "history.csv")
    assert record.run["metrics"]["path_norm"] == pytest.approx(rows["path_norm"].iloc[-1], rel=1e-9)


def test_predictions_are_in_units_of_the_target(finished: Any) -> None:
    """Regression: center + scale * output. Classes: probabilities of all of them that sum to 1."""
    raw = load_diabetes(as_frame=True, scaled=False)
    saved: Any = load(finished("dataset=diabetes", "trainer.epochs=60", "optimizer.lr=0.05").folder)
    assert np.sqrt(np.mean((saved.predict(raw.data) - raw.target) ** 2)) < 0.9 * raw.target.std()
    for dataset, classes in (("wine", 3), ("breast_cancer", 2)):
        record = finished(f"dataset={dataset}")
        saved = load(record.folder)
        probabilities = saved.predict(pd.DataFrame(1.0, index=range(4), columns=[*saved.preprocessing.roles]))
        assert probabilities.shape == (4, classes)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def test_inputs_are_listed_in_raw_units(finished: Any) -> None:
    """inputs.csv: bound_raw = bound / scale x target scale; the sums are the recorded certificates."""
    record = finished("dataset=diabetes", "reg.lam=0.01")
    rows, metrics = pd.read_csv(record.folder / "inputs.csv"), record.run["metrics"]
    assert rows["bound"].sum() == pytest.approx(metrics["lipschitz_bound"], rel=1e-5)
    assert rows["bound_raw"].sum() == pytest.approx(metrics["lipschitz_bound/raw"], rel=1e-5)
    saved: Any = load(record.folder)
    np.testing.assert_allclose(rows["scale"], saved.preprocessing.input_scales)
    raw = load_diabetes(as_frame=True, scaled=False).data
    moved = raw.copy()
    moved["bmi"] += 3
    change = np.abs(saved.predict(moved) - saved.predict(raw)).max()
    bound = rows.set_index("input")["bound_raw"]["bmi"] * 3
    assert 0 < change <= bound * (1 + 1e-4)
    assert set(rows["becoming_missing"]) == {"no bounded move"}


def test_a_network_that_is_not_there(finished: Any) -> None:
    """One line that lists those that are."""
    folder = finished().folder
    with pytest.raises(UsageError, match=r"pruned\.pt is not there\. Networks in this folder: best, model\."):
        load(folder, "pruned")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            ("pruner.steps=900",),
            r"pruner=l1_projection does not fit model=pnet: pruner.steps=900 is more than.* 10 steps",
        ),
        (("model=snet", "reg=l2"), "normalised by their 1-norm, and MLP has none as configured .*pruner=magnitude"),
        (("pruner.steps=3", "trainer.select=best"), "may pick a network of before the pruning .*select=last"),
        (("pruner.steps=3", "trainer.early_stopping=2"), "early stopping ends a run before the pruning"),
        (("pruner=projected", "model=mlp", "reg=none"), "normalised by their 1-norm"),
        (("pruner=magnitude", "model=ridge", "reg=none"), "pruner=magnitude does not fit model=ridge: .*no plain"),
        (("pruner=l1_projection", "model=random_forest", "reg=none"), "does not fit model=random_forest"),
    ],
)
def test_pruners_that_do_not_fit(config: Any, overrides: Any, words: Any) -> None:
    """One line each, before anything is written."""
    with pytest.raises(UsageError, match=words) as caught:
        prepare(config("pruner=l1_projection", "trainer.epochs=2", *overrides))
    assert "\n" not in str(caught.value)
