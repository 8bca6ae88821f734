"""Estimators are the runner's networks: same values, same numbers, certified, and one clear line for what is wrong."""

import pickle
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from psilon_bench import estimators
from psilon_bench.config.compose import compose
from psilon_bench.config.conf_folder import CONF
from psilon_bench.config.schema import Config
from psilon_bench.errors import UsageError
from psilon_bench.estimators import (
    PathProxClassifier,
    PNetClassifier,
    PNetRegressor,
    PSiLONResNetRegressor,
)
from psilon_bench.estimators.network_estimator import KEYS
from psilon_bench.records import places
from psilon_bench.records.record import Record

OF_PATHPROX = ("model=mlp_factorized", "reg=pathprox", "optimizer=sgd", "scheduler=constant")
TINY: dict[str, Any] = {"hidden": 4, "depth": 2, "epochs": 3, "precision": "float64", "device": "cpu"}


def rows(number: int = 60, seed: int = 0) -> pd.DataFrame:
    """Numbers of unlike scales with missing values, and a column of words."""
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame({"age": draw.normal(40, 9, number), "income": draw.lognormal(10, 1, number)})
    frame.loc[::7, "income"] = np.nan
    return frame.assign(colour=draw.choice(["red", "green", "blue"], number), pay=draw.exponential(1, number))


def quantity(frame: pd.DataFrame) -> np.ndarray:
    return np.asarray(100 * frame["pay"] + frame["age"] + 30 * (frame["colour"] == "red"))


def classes(frame: pd.DataFrame) -> np.ndarray:
    return np.where(quantity(frame) > 130, "high", "low")


@pytest.mark.parametrize("name", estimators.__all__)
def test_defaults_are_the_values_of_conf(name: str, config: Callable[..., Config]) -> None:
    """What Hydra composes for the same options has each default; lams are those of the preset psilon_tabular."""
    estimator = getattr(estimators, name)()
    values = config(*(f"{group}={option}" for group, option in estimator.options.items()), "hardware.precision=float32")
    flat = values.flat() | {"hardware.device": compose({}, {}).hardware.device}
    arguments = {field.name for field in fields(estimator)}
    for argument in arguments & set(KEYS):
        assert getattr(estimator, argument) == flat[KEYS[argument]], argument
    assert estimator.random_state == values.seed
    assert estimator.val_size == values.dataset.arguments["val_size"]
    if "lams" in arguments:
        preset: Any = OmegaConf.load(CONF / "experiment" / "psilon_tabular.yaml")
        grid = preset.hydra.sweeper.grids.pnet["reg.lam"]
        assert [*estimator.lams] == [float(lam) for lam in grid.split(",")]


def test_a_configuration_in_code_is_that_of_hydra(config: Callable[..., Config]) -> None:
    """References between sections are resolved after the values are set."""
    values = {"trainer.epochs": 7, "optimizer.lr": 0.3, "hardware.precision": "float64", "hardware.device": "cpu"}
    made = compose({"model": "psilon_resnet", "scheduler": "cosine"}, values)
    assert made == config("model=psilon_resnet", "scheduler=cosine", "trainer.epochs=7", "optimizer.lr=0.3")
    assert compose({}, {}) != made


@pytest.mark.sampled(every=2)
@pytest.mark.parametrize(
    ("estimator", "options"),
    [
        (PNetClassifier(**TINY, lam=5e-3, random_state=3), ["model=pnet", "reg.lam=5e-3", "seed=3"]),
        (PSiLONResNetRegressor(**TINY, batch_size=17), ["model=psilon_resnet", "trainer.batch_size=17"]),
        (
            PathProxClassifier(**TINY, class_weight="balanced"),
            [
                "model=mlp_factorized",
                "reg=pathprox",
                "optimizer=sgd",
                "scheduler=constant",
                "trainer.class_weight=balanced",
            ],
        ),
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_fit_is_the_run_of_the_same_values(
    estimator: Any, options: list[str], weighted: bool, finished: Callable[..., Record], tmp_path: Path
) -> None:
    """Bit for bit in float64: parameters, predictions of raw rows, and the certificate in raw units."""
    frame, parts = rows(), np.arange(60) % 4
    regression = isinstance(estimator, PSiLONResNetRegressor)
    target = quantity(frame) if regression else classes(frame)
    weights = 1 + parts + np.arange(60) % 3 if weighted else None
    table = frame.assign(y=target, part=np.array(["train", "val", "test", "train"])[parts])
    table.assign(w=1 if weights is None else weights).to_csv(tmp_path / "t.csv", index=False)
    record = finished(
        *("dataset=table", f"dataset.path={tmp_path / 't.csv'}", "dataset.target=y", "dataset.split=part"),
        *(f"dataset.kind={'regression' if regression else 'classes'}", "trainer.epochs=3", "trainer.eval_every=10"),
        *("model.hidden=4", "dataset.weights=w" if weighted else "dataset.drop=[w]", *options),
    )
    train = (parts == 0) | (parts == 3)
    read = pd.read_csv(tmp_path / "t.csv")[list(frame)]
    estimator.fit(read[train], target[train], sample_weight=None if weights is None else weights[train])
    network = torch.load(record.folder / places.weights_name("model"), weights_only=True)
    for name, value in estimator.network_.state_dict().items():
        assert torch.equal(value, network[name]), name
    predicted = pd.read_parquet(record.folder / places.PREDICTIONS)
    assert estimator.predict(read.iloc[predicted["row"]]).tolist() == predicted["prediction"].tolist()
    assert estimator.lipschitz_bound_ >= 0


@pytest.mark.parametrize("estimator", [PNetClassifier, PNetRegressor])
def test_an_integer_weight_is_a_repeated_row(estimator: Any) -> None:
    """To 1e-10 in float64 and full batches, with missing values, levels and the scale of the target; 0 is no row."""
    frame, often = rows(), np.arange(60) % 4
    target = classes(frame) if estimator is PNetClassifier else quantity(frame)
    again = np.repeat(np.arange(60), often)
    model = estimator(**TINY | {"epochs": 30}, num_batches=1, lr=0.05)
    weighted = clone(model).fit(frame, target, sample_weight=often)._logits(frame)
    repeated = clone(model).fit(frame.iloc[again], target[again])._logits(frame)
    torch.testing.assert_close(weighted, repeated, rtol=0, atol=1e-10)
    assert (weighted - clone(model).fit(frame, target)._logits(frame)).abs().max() > 1e-3


@pytest.mark.parametrize("estimator", [PNetClassifier, PNetRegressor])
def test_bounds_of_columns_bound_the_change(estimator: Any) -> None:
    """|f(x) - f(x')| <= sum_j bound_j |x_j - x'_j|, where another level counts 1."""
    frame = rows().drop(columns="income").assign(constant=1.0)
    target = classes(frame) if estimator is PNetClassifier else quantity(frame)
    model = estimator(**TINY | {"epochs": 40}, lr=0.05).fit(frame, target)
    value = model.predict if estimator is PNetRegressor else model.decision_function
    other = rows(seed=1).drop(columns="income").assign(constant=1.0)
    numbers = (frame[["age", "pay"]] - other[["age", "pay"]]).abs()
    moved = numbers.assign(colour=frame["colour"] != other["colour"], constant=0.0)[list(frame)].to_numpy(dtype=float)
    limit = moved @ model.input_bounds_
    change = np.abs(value(frame) - value(other))
    assert (change <= limit * (1 + 1e-6)).all()
    assert (change > 0.01 * limit).any()
    assert model.input_bounds_[-1] == 0
    assert model.lipschitz_bound_ == pytest.approx(model.input_bounds_.sum())


def test_it_stops_early_by_its_validation_rows() -> None:
    """Rows are kept back where something looks at them, and then alone."""
    frame = rows()
    model = PNetClassifier(**TINY | {"epochs": 60}, lr=0.5, eval_every=1, early_stopping=2, select="best", val_size=20)
    model.fit(frame, classes(frame))
    losses = [row["val/loss"] for row in model.history_]
    assert model.n_iter_ == len(losses) < 60
    assert min(losses) == losses[-3] < losses[-1]
    assert len(model.task_.val) == 20
    assert not len(PNetClassifier(**TINY).fit(frame, classes(frame)).task_.val)


def test_it_lives_among_scikit_learns_own() -> None:
    """A pickle and a clone predict the same; a pipeline in a grid search chooses the lambda that learns."""
    frame, target = rows()[["age", "pay"]], classes(rows())
    search = GridSearchCV(
        make_pipeline(StandardScaler(), PNetClassifier(**TINY | {"epochs": 20}, lr=0.1)),
        {"pnetclassifier__lam": np.array([1e-4, 100.0])},
        cv=2,
    ).fit(frame, target)
    assert search.best_params_ == {"pnetclassifier__lam": 1e-4}
    model = search.best_estimator_[-1]
    assert np.array_equal(
        pickle.loads(pickle.dumps(model)).predict_proba(frame.to_numpy()), model.predict_proba(frame.to_numpy())
    )
    assert "hidden=4" in repr(clone(model))


FRAME = rows()
WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "one class": (lambda: PNetClassifier(**TINY).fit(FRAME, ["a"] * 60), "one class alone: a"),
    "words": (lambda: PNetRegressor(**TINY).fit(FRAME, classes(FRAME)), "must be numbers, but y holds 'low'|'high'"),
    "no target": (lambda: PNetRegressor(**TINY).fit(FRAME, [np.nan] * 60), "y contains NaN"),
    "lam": (lambda: PNetRegressor(**TINY, lam=-1).fit(FRAME, quantity(FRAME)), "^lam=-1 is not valid: it should be"),
    "batches": (
        lambda: PNetRegressor(**TINY, num_batches=61).fit(FRAME, quantity(FRAME)),
        "^num_batches=61 is more than the 60 training rows of X. Set num_batches to at most 60.$",
    ),
    "negative": (
        lambda: PNetRegressor(**TINY).fit(FRAME, quantity(FRAME), sample_weight=[-1.0] * 60),
        "sample_weight must be at least 0, and above 0 for some row, but it holds numbers below zero",
    ),
    "prose": (
        lambda: PNetRegressor(**TINY).fit(FRAME.assign(name=[f"row {i}" for i in range(60)]), quantity(FRAME)),
        r"^Text columns must be categories, but 'name' has 60 different values .* Take them out of X.$",
    ),
    "infinite": (
        lambda: PNetRegressor(**TINY).fit(FRAME.assign(age=np.inf), quantity(FRAME)),
        "^Numbers must be finite, but column 'age' has 60 infinite values, the first in row 1.",
    ),
    "a column is gone": (
        lambda: PNetRegressor(**TINY).fit(FRAME, quantity(FRAME)).predict(FRAME.drop(columns="income")),
        "(?s)yet now missing.*income",
    ),
    "a column is renamed": (
        lambda: PNetRegressor(**TINY).fit(FRAME, quantity(FRAME)).predict(FRAME.rename(columns={"age": "years"})),
        "(?s)unseen at fit time.*years",
    ),
    "the same name twice": (
        lambda: PNetRegressor(**TINY).fit(FRAME.set_axis(["a", "b", "a", "d"], axis=1), quantity(FRAME)),
        "^Column names must be unique, but these repeat: a. Rename them.$",
    ),
    "the same name twice in new rows": (
        lambda: (
            PNetRegressor(**TINY).fit(FRAME, quantity(FRAME)).predict(FRAME.set_axis(["age", "b", "age", "d"], axis=1))
        ),
        "^Column names must be unique, but these repeat: age. Rename them.$",
    ),
    "strings and numbers as names": (
        lambda: PNetRegressor(**TINY).fit(FRAME.set_axis(["a", 1, "c", "d"], axis=1), quantity(FRAME)),
        r"^Column names must all be strings, or none of them, but 1 \(int\) is no string. Set X.columns = ",
    ),
    "days as numbers": (
        lambda: (
            PNetRegressor(**TINY)
            .fit(pd.DataFrame({"day": pd.date_range("2024-01-01", periods=60)}), quantity(FRAME))
            .predict(pd.DataFrame({"day": [1.7e9]}))
        ),
        "^Column 'day' holds dates, but 1700000000.0 is a number. Give it as a date.$",
    ),
    "diverged": (
        lambda: PathProxClassifier(**TINY, lr=1e200).fit(FRAME, classes(FRAME)),
        "PathProxClassifier diverged: .* at step .*Lower lr",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_one_clear_line(name: str) -> None:
    call, message = WRONG[name]
    with pytest.raises(ValueError, match=message) as caught:
        call()
    if isinstance(caught.value, UsageError):
        assert "\n" not in str(caught.value)
