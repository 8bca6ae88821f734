"""Baselines are scikit-learn's estimators, called by hand on the same rows, and record what networks record."""

import itertools
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
import torch
from rich.console import Console
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import Ridge as RidgeRegressor
from sklearn.metrics import accuracy_score, log_loss, root_mean_squared_error

from psilon_bench.config.components import locate
from psilon_bench.config.options import options
from psilon_bench.data.task import Split
from psilon_bench.data.tasks import load_task
from psilon_bench.errors import StackFailed, UsageError
from psilon_bench.machine.signals import Stopped
from psilon_bench.models.baselines import RandomForest, Ridge
from psilon_bench.records.history import read_rows
from psilon_bench.run.checks import fits
from psilon_bench.run.display import Display
from psilon_bench.run.run import run_alone

FOREST = {"n_estimators": 7, "max_features": 0.4, "min_samples_leaf": 2}
BOOSTING = {"learning_rate": 0.3, "max_iter": 8, "max_leaf_nodes": 5, "early_stopping": False}
BY_HAND: dict[
    str, tuple[list[str], Callable[[int], Any], Callable[[int], Any]]
] = {  # overrides; regressor, classifier by seed
    "ridge": (
        ["model.alpha=0.3"],
        lambda seed: RidgeRegressor(alpha=0.3),
        lambda seed: LogisticRegression(C=1 / 0.3, max_iter=10_000),
    ),
    "random_forest": (
        [f"model.{key}={value}" for key, value in FOREST.items()],
        lambda seed: RandomForestRegressor(**FOREST, random_state=seed),
        lambda seed: RandomForestClassifier(**FOREST, random_state=seed),
    ),
    "hist_gbdt": (
        [f"model.{key}={value}" for key, value in BOOSTING.items()],
        lambda seed: HistGradientBoostingRegressor(**BOOSTING, random_state=seed),
        lambda seed: HistGradientBoostingClassifier(**BOOSTING, random_state=seed),
    ),
}


@pytest.fixture
def fitted(config: Any) -> Any:
    """fitted("model=ridge", "dataset=wine"): the record of a run."""

    def fitted(*overrides: Any) -> Any:
        return run_alone(config("reg=none", "tracking=none", *overrides), Display(Console(quiet=True)))

    return fitted


def test_every_baseline_is_compared() -> None:
    """By discovery; what recovers x from A x = b, and what is of the extra `peers`, has tests of its own."""
    targets: dict[str, Any] = {
        name: locate(section.target) for name, section in options("model").items() if section.is_baseline
    }
    assert BY_HAND.keys() == {
        name for name, target in targets.items() if target.kinds != ("recovery",) and not target.packages
    }


PAIRS = [*itertools.product(BY_HAND, ["diabetes", "breast_cancer", "digits"])]


@pytest.mark.parametrize(  # each model and each data set; the other pairs are slow
    ("model", "dataset"),
    [pytest.param(*pair, marks=[pytest.mark.slow] if number % 4 else []) for number, pair in enumerate(PAIRS)],
)
def test_equal_to_scikit_learn_by_hand(fitted: Any, config: Any, model: Any, dataset: Any) -> None:
    """Regression, two classes, ten: the losses and scores of all splits, and the predictions of the kept estimator."""
    overrides, regressor, classifier = BY_HAND[model]
    where = (f"model={model}", f"dataset={dataset}", "seed=3", "dataset.max_rows=401", *overrides)
    record = fitted(*where)
    task = load_task(config("reg=none", *where).dataset.text())
    splits = {name: getattr(task, name) for name in ("train", "val", "test")}
    x = {name: split.x.double().numpy() for name, split in splits.items()}
    y = {name: split.y.numpy().ravel() for name, split in splits.items()}
    estimator = (regressor if task.kind == "regression" else classifier)(3).fit(x["train"], y["train"])
    file = record.folder / "estimator.skops"
    kept = skops.io.load(
        file, trusted=skops.io.get_untrusted_types(file=file)
    )  # trees, of which one can build bad ones
    metrics = record.run["metrics"]
    for name in splits:
        np.testing.assert_array_equal(kept.predict(x[name]), estimator.predict(x[name]))
        if task.kind == "regression":
            loss = root_mean_squared_error(y[name], estimator.predict(x[name]))
        else:
            loss = log_loss(y[name], estimator.predict_proba(x[name]), labels=estimator.classes_)
        assert metrics[f"{name}/loss"] == pytest.approx(loss, rel=1e-6)  # y is float32
        if task.kind != "regression" and name != "train":
            assert metrics[f"{name}/accuracy"] == accuracy_score(y[name], estimator.predict(x[name]))


def test_what_is_recorded(fitted: Any) -> None:
    """The same folder and names as a network's, the estimator in the place of model.pt, one row of history."""
    record = fitted("model=random_forest", "model.n_estimators=3", "dataset=wine")
    saved = json.loads((record.folder / "run.json").read_text())
    assert saved["status"] == "finished"
    assert saved["title"] == "random_forest features=0.5 leaf=1 seed=0"
    assert {"train/loss", "val/loss", "test/loss", "val/accuracy", "test/accuracy", "time/fit_s"} <= saved[
        "metrics"
    ].keys()
    (row,) = read_rows(record.folder / "history.csv")
    assert row.items() <= saved["metrics"].items()
    assert {path.name for path in record.folder.iterdir()} == {
        "config.yaml",
        "predictions.parquet",
        "history.csv",
        "run.json",
        "estimator.skops",
        "preprocessing.json",
    }


def test_the_certificate_of_ridge(task: Any) -> None:
    """|f(x) - f(y)|_1 <= bound |x - y|_inf for any x and y; for one output some pair attains it."""
    for kind in ("regression", "binary", "multiclass"):
        made = task(kind)
        model = Ridge(5, made.num_outputs, alpha=0.5, max_iter=1000)
        model.fit(kind, made.train, seed=0)
        x = torch.randn(200, 5, dtype=torch.float64)
        y = x + torch.randn(200, 5, dtype=torch.float64).sign() * torch.rand(200, 1)
        moved = (model.logits(kind, x) - model.logits(kind, y)).abs().sum(1) / (x - y).abs().amax(1)
        assert moved.max() <= model.lipschitz_bound() * (1 + 1e-9)
        if kind != "multiclass":
            ends = torch.stack([torch.zeros(5), model.weights()[0][0].sign()]).double()
            low, high = model.logits(kind, ends)
            assert (high - low).item() == pytest.approx(model.lipschitz_bound().item())


def test_what_is_recorded_of_ridge(fitted: Any) -> None:
    """Bounds of its inputs that add up to the certificate, and what that promises of its predictions."""
    record = fitted("model=ridge", "dataset=wine", "metrics.radii=[1e-9,100]")
    metrics = record.run["metrics"]
    table = pd.read_csv(record.folder / "inputs.csv")
    assert table["bound"].sum() == pytest.approx(metrics["lipschitz_bound"])
    assert metrics["num_inputs"] == 13
    assert metrics["test/certified_accuracy/1e-09"] == metrics["test/accuracy"]
    assert metrics["test/certified_accuracy/100"] == 0


def test_a_class_without_training_rows(task: Any) -> None:
    """Its probability is the least that log_loss knows; the others are what scikit-learn says."""
    made = task("multiclass")
    train = Split(made.train.x[made.train.y != 1], made.train.y[made.train.y != 1])
    for model in (Ridge(5, 3, 1.0, 1000), RandomForest(5, 3, 20, "sqrt", 1)):
        model.fit("multiclass", train, seed=0)
        p = model.logits("multiclass", made.test.x).softmax(1)
        np.testing.assert_allclose(p[:, [0, 2]], model.estimator.predict_proba(made.test.x.numpy()), atol=1e-12)
        assert (p[:, 1] < 1e-15).all()
        assert (p[:, 1] > 0).all()


def test_images_are_flattened(task: Any) -> None:
    """Rows of any shape."""
    made = task("regression")
    flat = Split(made.train.x[:, :4], made.train.y)
    image = Split(made.train.x[:, :4].reshape(-1, 1, 2, 2), made.train.y)
    outputs = []
    for train in (flat, image):
        model = Ridge(4, 1, 1.0, 1000)
        model.fit("regression", train, seed=0)
        outputs.append(model.logits("regression", train.x))
    assert torch.equal(*outputs)


@pytest.mark.parametrize("model", BY_HAND)
def test_threads_and_precision_change_nothing(fitted: Any, model: Any) -> None:
    """The same history, bit for bit. Boosting keeps to one thread: OpenMP's wait for each other on busy cores."""
    rows = []
    before = torch.get_num_threads()
    more = "hardware.threads=1" if model == "hist_gbdt" else "hardware.threads=3"
    for how in (("hardware.threads=1",), (more, "hardware.precision=float32"), ("optimizer.lr=0.5",)):
        record = fitted(f"model={model}", *BY_HAND[model][0], "dataset=wine", *how)
        rows.append((record.folder / "history.csv").read_text())
    torch.set_num_threads(before)
    assert rows[0] == rows[1] == rows[2]


def test_what_a_fingerprint_knows(config: Any) -> None:
    """Seed, data and the model's own arguments; what trains networks does not count."""

    def own(*more: str) -> str:
        return config("model=ridge", "reg=none", *more).fingerprint()

    nothing = ["optimizer.lr=0.1", "trainer.epochs=7", "reg.lam=3", "scheduler=constant", "hardware.precision=float32"]
    assert {own(), *map(own, nothing)} == {own()}
    assert len({own(), own("seed=1"), own("model.alpha=2"), own("dataset=wine"), own("dataset.split_seed=4")}) == 5
    assert config("reg=none").fingerprint() != config("reg=none", "optimizer.lr=0.1").fingerprint()


WRONG = {
    "reg=pathnorm": r"^reg=pathnorm does not fit model=ridge: Ridge is fitted as a whole, .* Take reg=none\.$",
    "reg=l2": r"^reg=l2 does not fit model=ridge: .* Take reg=none\.$",
    "pruner=magnitude": r"^pruner=magnitude does not fit model=ridge: it needs the weights of a plain network",
    "dataset=sparse_recovery": r"^dataset=sparse_recovery has one solution to recover .* or basis_pursuit\.$",
    "model.alpha=0": r"^model\.alpha=0 is not valid: it should be greater than 0\.$",
    "+model.hidden=3": r"^model\.hidden is not a known key\. Choose from: alpha, max_iter\.$",
    "model=random_forest model.max_features=1.5": r"^model\.max_features=1\.5 is not valid: it should be 'sqrt' or",
    "model=random_forest model.n_estimators=0": r"^model\.n_estimators=0 is not valid: it should be greater than 0\.$",
    "model=hist_gbdt model.max_leaf_nodes=1": r"^model\.max_leaf_nodes=1 is not valid: it should be greater than 1\.$",
    "model=hist_gbdt model.early_stopping=auto": r"^model\.early_stopping='auto' is not valid",
}


@pytest.mark.parametrize("overrides", WRONG)
def test_what_is_wrong_is_told(fitted: Any, overrides: Any) -> None:
    """In one line, before anything is written."""
    with pytest.raises(UsageError, match=WRONG[overrides]):
        fitted("model=ridge", *overrides.split())
    assert not Path("results").exists()


def test_no_regularizer_fits() -> None:
    """Whatever they ask of a model."""
    for section in options("model").values():
        if section.is_baseline:
            model = section.build(num_features=3, num_outputs=2)
            assert [name for name, reg in options("reg").items() if fits(reg, model)] == ["none"]


def test_stopped_and_failed(fitted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in a fit ends it there; the same command goes on in the folder; an error is in the record."""
    regressor = RandomForest.regressor

    def stops(self: Any, seed: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("the fit goes on")

    own = ("model=random_forest", "model.n_estimators=3", "dataset=diabetes")
    monkeypatch.setattr(RandomForest, "regressor", stops)
    with pytest.raises(Stopped):
        fitted(*own)
    (path,) = Path("results/runs").glob("*/run.json")
    assert json.loads(path.read_text())["status"] == "killed"
    monkeypatch.setattr(RandomForest, "regressor", regressor)
    record = fitted(*own)
    assert record.folder == path.parent.absolute()
    assert record.run["status"] == "finished"
    monkeypatch.setattr(RandomForest, "regressor", lambda self, seed: 1 // 0)
    with pytest.raises(StackFailed, match="ZeroDivisionError"):
        fitted(*own, "seed=1")
    failed = next(p for p in Path("results/runs").glob("*/run.json") if json.loads(p.read_text())["seed"] == 1)
    assert json.loads(failed.read_text())["status"] == "failed"
    assert "ZeroDivisionError" in (failed.parent / "error.txt").read_text()
