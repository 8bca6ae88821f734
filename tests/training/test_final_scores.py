"""Every finished run has the usual scores, beside those of the constant prediction, in units of the target."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console
from sklearn import metrics
from sklearn.dummy import DummyClassifier, DummyRegressor
from tiny import TINY

from psilon_bench.metrics.constant import constant_outputs
from psilon_bench.run.display import Display
from psilon_bench.run.run import run_alone
from psilon_bench.training.engine import Outcome
from psilon_bench.training.final_scores import add_predictions, constant_scores, final_scores

OF_CLASSES = {"f1", "balanced_accuracy", "brier", "ece", "roc_auc", "average_precision"}
OF_NUMBERS = {"rmse", "mae", "r2"}
FOREST = "model=random_forest", "model.n_estimators=9", "reg=none", "tracking=none"


@pytest.mark.sampled(every=3)
@pytest.mark.parametrize("model", [TINY, FOREST], ids=["pnet", "forest"])
@pytest.mark.parametrize("dataset", ["breast_cancer", "wine", "diabetes"])
def test_scores_can_be_computed_again(config: Any, dataset: str, model: Any) -> None:
    """By scikit-learn, from the predictions of the record, which are in float32."""
    said = io.StringIO()
    display = Display(Console(file=said, width=200))
    record = run_alone(config(f"dataset={dataset}", *model), display)
    found, classes = record.run["metrics"], record.run["task"]["classes"]
    table = pd.read_parquet(record.folder / "predictions.parquet")
    for split, rows in table.groupby("split", observed=True):
        y, guess = rows["target"], rows["prediction"]
        if dataset == "diabetes":
            expected = {
                "rmse": metrics.root_mean_squared_error(y, guess),
                "mae": metrics.mean_absolute_error(y, guess),
                "r2": metrics.r2_score(y, guess),
            }
        else:
            likely = rows.filter(like="probability/").to_numpy().astype(float).round(6)
            one_hot = np.array([[name == c for c in classes] for name in y])
            one_hot, likely = (a[:, 1:] if len(classes) == 2 else a for a in (one_hot, likely))
            expected = {
                "f1": metrics.f1_score(y, guess, average="macro"),
                "balanced_accuracy": metrics.balanced_accuracy_score(y, guess),
                "roc_auc": metrics.roc_auc_score(one_hot, likely),
                "average_precision": metrics.average_precision_score(one_hot, likely),
            }
        for name, value in expected.items():
            assert found[f"{split}/{name}"] == pytest.approx(value, rel=1e-4, abs=1e-4), name
    for split in ("val", "test", "constant/val", "constant/test"):
        names = {name.removeprefix(f"{split}/") for name in found if name.startswith(f"{split}/")}
        assert (OF_NUMBERS if dataset == "diabetes" else OF_CLASSES) | {"loss"} <= names
    display.result(record)
    assert "constant" in said.getvalue()
    assert ("test/rmse (units of target)" in said.getvalue()) == (dataset == "diabetes")


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_the_constant_prediction_is_scikit_learns_dummy(task: Any, kind: Any) -> None:
    """The mean, or the frequencies, of training rows alone; of scores that only a network could better."""
    made = replace(task(kind, sizes=(40, 30, 31)), target_center=5.0, target_scale=3.0)
    rows, x = made.test, np.zeros((40, 1))
    outputs = torch.randn(len(rows), made.num_outputs).double()
    found = final_scores(made, {"test": outputs}, *constant_scores([made]))
    constant = {name.removeprefix("constant/test/"): v for name, v in found.items() if name.startswith("constant/")}
    y, right = made.train.y.flatten().numpy(), rows.y.flatten().numpy()
    if kind == "regression":
        guess = DummyRegressor().fit(x, 5 + 3 * y.astype(float)).predict(np.zeros((len(rows), 1)))
        raw = 5 + 3 * right.astype(float)
        assert constant == {
            "rmse": pytest.approx(metrics.root_mean_squared_error(raw, guess)),
            "mae": pytest.approx(metrics.mean_absolute_error(raw, guess)),
            "r2": pytest.approx(metrics.r2_score(raw, guess)),
            "loss": pytest.approx(metrics.root_mean_squared_error(raw, guess) / 3),
        }
        return
    dummy = DummyClassifier(strategy="prior").fit(x, y.astype(int))
    likely, guess = (answer(np.zeros((len(rows), 1))) for answer in (dummy.predict_proba, dummy.predict))
    assert constant.keys() == OF_CLASSES | {"loss", "accuracy"}
    assert constant["loss"] == pytest.approx(metrics.log_loss(right, likely))
    assert constant["accuracy"] == pytest.approx(metrics.accuracy_score(right, guess))
    assert constant["f1"] == pytest.approx(metrics.f1_score(right, guess, average="macro"))
    assert constant["balanced_accuracy"] == pytest.approx(1 / likely.shape[1])
    assert constant["roc_auc"] == 0.5
    assert constant["ece"] == pytest.approx(abs(likely.max() - constant["accuracy"]))


def test_a_class_without_training_rows(task: Any) -> None:
    """Its probability is 2.2e-16, as that of a baseline: the loss of a row of it is large and finite."""
    made = task("multiclass", sizes=(40, 30, 31))
    made = replace(made, train=replace(made.train, y=made.train.y.clamp(max=1)))
    assert constant_outputs(made, 2).softmax(dim=1)[:, 2].tolist() == pytest.approx([2.2e-16] * 2, rel=0.02)
    (constant,) = constant_scores([made])
    assert 1 < constant["test"]["loss"] < 36


def test_each_task_has_its_own_constant_scores(task: Any) -> None:
    """Of one that members share they are computed once; rows with weights, and absent ones, have none."""
    one, other = task("binary"), task("binary", sizes=(23, 12, 9))
    other = replace(other, train=replace(other.train, y=1 - other.train.y.round() * 0))
    empty = replace(one, val=replace(one.val, x=one.val.x[:0], y=one.val.y[:0]))
    weighted = replace(one, test=replace(one.test, weights=torch.rand(len(one.test)).double()))
    first, second, third, fourth, last = constant_scores([one, other, one, empty, weighted])
    assert first is third
    assert first != second
    assert [first] == constant_scores([one])
    assert [second] == constant_scores([other])
    assert (fourth["val"], fourth["test"]) == ({}, first["test"])
    assert last == {}


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_what_is_not_defined_is_left_out(task: Any, kind: Any) -> None:
    """Areas where a class has no row, r2 where all targets are equal; nothing is NaN and nothing warns."""
    made = task(kind)
    made = replace(made, val=replace(made.val, y=torch.zeros_like(made.val.y)))
    found = final_scores(made, {"val": torch.randn(11, made.num_outputs).double()}, *constant_scores([made]))
    names = {name.removeprefix("val/") for name in found if name.startswith("val/")}
    assert names == (OF_NUMBERS - {"r2"} if kind == "regression" else OF_CLASSES - {"roc_auc", "average_precision"})
    assert all(map(np.isfinite, found.values()))


def test_outputs_that_are_not_finite_have_no_scores(task: Any, config: Any) -> None:
    """The predictions are kept as they are."""
    made, outcome = task("binary"), Outcome("finished", None, {})
    outputs = {"val": torch.zeros(11, 1), "test": torch.full((7, 1), float("inf"))}
    add_predictions(outcome, made, outputs, config().metrics, *constant_scores([made]))
    assert outcome.metrics == {}
    assert outcome.predictions is not None


def test_a_member_has_the_scores_of_the_lone_run(train: Any, network: Any, task: Any) -> None:
    """Of two tasks of different rows and scales."""
    torch.manual_seed(0)
    tasks = [task("regression", seed=1), replace(task("regression", seed=2), target_center=7.0, target_scale=11.0)]
    states = [network("pnet", 5, 1).state_dict() for _ in tasks]

    def networks(*places: int) -> list[Any]:
        made = [network("pnet", 5, 1) for _ in places]
        for model, place in zip(made, places, strict=True):
            model.load_state_dict(states[place])
        return made

    both = [outcome.metrics for outcome in train(networks(0, 1), tasks).fit.outcomes()]
    (first,) = train(networks(0), tasks[:1]).fit.outcomes()
    for name in ("test/rmse", "test/mae", "test/r2", "val/rmse", "constant/test/rmse"):
        assert both[0][name] == pytest.approx(first.metrics[name], rel=1e-9)
    assert both[1]["test/rmse"] == pytest.approx(11 * both[1]["test/loss"], rel=1e-9)
