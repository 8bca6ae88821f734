"""Peers: estimators of other libraries, each tested where its library is installed (the extra `peers`)."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
import torch
from rich.console import Console

from psilon_bench.config.components import locate
from psilon_bench.config.options import options
from psilon_bench.data.task import Split
from psilon_bench.data.tasks import load_task
from psilon_bench.errors import UsageError
from psilon_bench.models.baselines import EPS, rows
from psilon_bench.models.network_peers import without_outdated
from psilon_bench.models.peers import HELD_OUT, Peer, PeerRows, held_out
from psilon_bench.records.networks import load
from psilon_bench.run.display import Display
from psilon_bench.run.run import run_alone

SMALL: dict[str, list[str]] = {  # overrides that make a fit short
    "catboost": ["model.iterations=40", "model.early_stopping_rounds=3"],
    "lightgbm": ["model.n_estimators=40", "model.early_stopping_rounds=3"],
    "xgboost": ["model.n_estimators=40", "model.early_stopping_rounds=3"],
    "ebm": ["model.max_rounds=300", "model.outer_bags=2"],
    "realmlp": ["model.n_epochs=25"],
    "tabm": ["model.tabm_k=4", "model.d_block=64", "model.n_epochs=20"],
}
UNKEPT = ("realmlp", "tabm")  # and they take no weights
SURE: dict[str, dict[str, Any]] = {  # arguments with which nothing is drawn, and no rule counts rows
    "catboost": {"learning_rate": 0.1, "bootstrap_type": "No", "random_strength": 0, "l2_leaf_reg": 0},
    "lightgbm": {"min_child_samples": 0},
    "xgboost": {},
}


def packages(model: str) -> dict[str, str]:
    """The packages that a model needs, with the modules they are imported by."""
    target: Any = locate(options("model")[model].target)
    return target.packages


@pytest.fixture(params=SMALL)
def peer(request: Any) -> str:
    """The name of each peer whose library is installed."""
    for module in packages(request.param).values():
        pytest.importorskip(module)
    return request.param


@pytest.fixture
def built(config: Any) -> Any:
    """built("catboost", 3): an estimator of few rounds for so many outputs, not fitted."""

    def built(model: str, num_outputs: int, *more: str) -> Any:
        section = config(f"model={model}", "reg=none", *SMALL[model], *more).model
        return section.build(num_features=5, num_outputs=num_outputs)

    return built


def run(config: Any, model: str, *overrides: str) -> Any:
    """The record of a short run."""
    asked = config(f"model={model}", "reg=none", "tracking=none", "hardware.threads=1", *SMALL[model], *overrides)
    return run_alone(asked, Display(Console(quiet=True)))


def test_every_peer_is_tested() -> None:
    """By discovery of the models that need a package."""
    assert {name for name, section in options("model").items() if section.is_baseline and packages(name)} == set(SMALL)


@pytest.mark.parametrize(
    "dataset", ["wine", *(pytest.param(name, marks=pytest.mark.slow) for name in ("diabetes", "breast_cancer"))]
)
def test_what_is_recorded(config: Any, peer: str, dataset: str) -> None:
    """A loss below that of the constant prediction, probabilities, the package's version; the estimator, or a note."""
    record = run(config, peer, f"dataset={dataset}")
    saved, metrics = record.run, record.run["metrics"]
    assert metrics["test/loss"] < 0.95 * metrics["constant/test/loss"]
    assert packages(peer).keys() <= saved["versions"].keys()
    table = pd.read_parquet(record.folder / "predictions.parquet").query("split == 'test'")
    columns = [name for name in table if name.startswith("probability/")]
    if columns:
        np.testing.assert_allclose(table[columns].sum(axis=1), 1, atol=1e-6)
    file = record.folder / "estimator.skops"
    assert file.exists() == (peer not in UNKEPT)
    assert any("is not kept" in note for note in saved["task"]["notes"]) == (peer in UNKEPT)
    if file.exists():
        task = load_task(config(f"dataset={dataset}").dataset.text())
        kept, x = skops.io.load(file, trusted=skops.io.get_untrusted_types(file=file)), rows(task.test.x)
        found = kept.predict_proba(x) if columns else kept.predict(x) * task.target_scale + task.target_center
        np.testing.assert_allclose(found, table[columns] if columns else table["prediction"], rtol=1e-5, atol=1e-6)
    with pytest.raises(UsageError, match=r"is the run of .* baseline.* predictions\.parquet\. Name the run of a net"):
        load(record.folder)


def test_a_class_without_training_rows(peer: str, built: Any, task: Any) -> None:
    """Its probability is the least; the others are what the library says."""
    made = task("multiclass", sizes=(60, 11, 7))
    train = Split(made.train.x[made.train.y != 1], made.train.y[made.train.y != 1])
    model = built(peer, 3)
    model.fit("multiclass", train, seed=0)
    p = model.logits("multiclass", made.test.x).softmax(1)
    assert p.dtype == torch.float64
    with without_outdated():
        np.testing.assert_allclose(p[:, [0, 2]], model.estimator.predict_proba(rows(made.test.x)), atol=1e-6)
    assert (p[:, 1] <= 2 * EPS).all()


@pytest.mark.parametrize("kind", ["regression", "binary"])
def test_the_same_seed_gives_the_same_numbers(peer: str, built: Any, task: Any, kind: Any) -> None:
    """Whatever was drawn at random in between, and another seed others; two classes have one logit."""
    made, outputs = task(kind, sizes=(60, 11, 7)), []
    before = torch.get_num_threads()
    for seed in (4, 4, 5):
        torch.rand(3)
        model = built(peer, 1)
        model.fit(kind, made.train, seed)
        outputs.append(model.logits(kind, made.test.x))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
    assert 12345 in model.unfitted(kind, 12345).get_params().values()  # beside the rows held out
    assert outputs[0].shape == (7, 1)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("kind", ["regression", "multiclass"])
@pytest.mark.parametrize("model", SURE)
def test_a_weight_of_two_is_a_row_twice(built: Any, task: Any, model: str, kind: Any) -> None:
    """Where no row is held out, and nothing is drawn. Values come three times at least, for LightGBM's bins count rows.

    CatBoost multiplies `l2_leaf_reg` by the mean weight.
    """
    pytest.importorskip(model)
    made = task(kind, sizes=(40, 11, 7))
    x, y = made.train.x.round().repeat(3, 1), made.train.y.repeat(3, *[1] * (made.train.y.ndim - 1))
    twice = torch.arange(len(x)) % 4 == 0
    weights = 1 + twice.double()
    outputs = []
    for train in (Split(x, y, weights=weights), Split(torch.cat([x, x[twice]]), torch.cat([y, y[twice]])), Split(x, y)):
        fitted = built(model, made.num_outputs, "model.early_stopping_rounds=null")
        fitted.arguments |= SURE[model]
        fitted.fit(kind, train, seed=0)
        outputs.append(fitted.logits(kind, made.test.x))
    torch.testing.assert_close(outputs[0], outputs[1], atol=1e-4, rtol=1e-4)
    assert (outputs[0] - outputs[2]).abs().max() > 1e-2


def test_a_weight_of_zero_is_no_row(peer: str, built: Any, task: Any) -> None:
    """Neither to fit to nor to stop by; other weights count."""
    if peer in UNKEPT:
        pytest.skip("takes no weights")
    made = task("binary", sizes=(60, 11, 7))
    weights = (torch.arange(60) % 5 > 0).double() * torch.linspace(1, 2, 60).double()
    counted, outputs = weights > 0, []
    for train in (
        Split(made.train.x, made.train.y, weights=weights),
        Split(made.train.x[counted], made.train.y[counted], weights=weights[counted]),
        Split(made.train.x[counted], made.train.y[counted]),
    ):
        model = built(peer, 1)
        model.fit("binary", train, seed=0)
        outputs.append(model.logits("binary", made.test.x))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


def test_weights_are_refused_in_one_line(config: Any) -> None:
    """By libraries that take none, before anything is written."""
    pytest.importorskip("pytabkit")
    for model in UNKEPT:
        with pytest.raises(
            UsageError, match=rf"^trainer\.class_weight weighs rows, and .* of model={model} takes no w"
        ):
            run(config, model, "dataset=wine", "trainer.class_weight=balanced")
    assert not Path("results").exists()


@pytest.mark.parametrize("model", SMALL)
def test_a_missing_package_is_told(config: Any, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    """In one line with the command that installs it, before anything is written."""
    ((package, module),) = packages(model).items()
    monkeypatch.setitem(sys.modules, module, None)
    told = (
        rf"^model={model} needs {package}, which is not installed\. Install it: pip install 'psilon-bench\[peers\]'\.$"
    )
    with pytest.raises(UsageError, match=told):
        run(config, model, "dataset=wine")
    assert not Path("results").exists()


class Remembers(Peer):
    """A peer that remembers what it is given to fit to and to stop by."""

    def settings(self, seed: int) -> dict[str, Any]:
        return {}

    def unfitted(self, kind: Any, seed: int) -> None:
        return None

    def fit_rows(self, fitted: PeerRows, held: PeerRows | None) -> None:
        self.fitted, self.held = fitted, held


def test_no_row_is_fitted_to_and_stopped_by(task: Any) -> None:
    """The rows of both parts, with their targets and weights, are the training rows of positive weight, once each."""
    train = task("multiclass", sizes=(60, 11, 7)).train
    weights = torch.arange(60).double() % 7
    model = Remembers(5, 3)
    model.fit("multiclass", Split(train.x, train.y, weights=weights), seed=0)
    parts: list[Any] = [model.fitted, model.held]
    found = np.concatenate([np.column_stack([part.x, model.classes[part.y], part.weights]) for part in parts])
    given = np.column_stack([train.x.double(), train.y, weights])[weights > 0]
    assert len(parts[1].y) == len(given) // HELD_OUT
    np.testing.assert_array_equal(found[np.lexsort(found.T)], given[np.lexsort(given.T)])


@pytest.mark.parametrize("counts", [[60], [1, 9, 50], [10, 20, 30], [3, 1, 1], [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]])
def test_a_tenth_of_each_class_is_held_out(counts: Any) -> None:
    """To within one row; a class is never held out whole, and seeds hold out other rows."""
    y = np.repeat(np.arange(len(counts)), counts)
    masks = [held_out(y, "multiclass", seed) for seed in range(20)]
    for mask in masks:
        for label, count in enumerate(counts):
            assert abs(mask[y == label].sum() - count / HELD_OUT) < 1
            assert not mask[y == label].all()
    assert held_out(y.astype(float), "regression", 0).sum() == len(y) // HELD_OUT
    if len(y) == 60:
        assert len({mask.tobytes() for mask in masks}) == len(masks)
