"""A run that is calibrated, or has intervals and sets: its record, its saved network, and what is refused."""

import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from sklearn import datasets, metrics

from psilon_bench.errors import UsageError
from psilon_bench.records.networks import load
from psilon_bench.run.checks import prepare
from psilon_bench.run.display import Display
from psilon_bench.run.run import run_alone

LONGER = "trainer.epochs=30", "optimizer.lr=0.05"
TEMPERATURE = "metrics.calibrate=temperature"
FITTED = ("temperature", "calibrated", "conformal", "coverage", "set_size", "interval_width")


def table_of(record: Any, split: str) -> pd.DataFrame:
    """The predictions of a split."""
    table = pd.read_parquet(record.folder / "predictions.parquet")
    return table[table["split"] == split]


@pytest.mark.sampled(every=2)
@pytest.mark.parametrize("dataset", ["breast_cancer", "wine"])
def test_a_calibrated_run(finished: Any, dataset: str) -> None:
    """All other numbers are those without; the saved network and predictions.parquet have the new probabilities."""
    plain, record = (finished(f"dataset={dataset}", *LONGER, *more) for more in ((), (TEMPERATURE,)))
    found, before = record.run["metrics"], plain.run["metrics"]
    others = {name: v for name, v in found.items() if "time/" not in name and not any(w in name for w in FITTED)}
    assert others == {name: value for name, value in before.items() if "time/" not in name}
    assert record.run["fingerprint"] != plain.run["fingerprint"]
    assert 0 < found["temperature"] != 1
    assert found["val/calibrated_loss"] < found["val/loss"]
    frame = getattr(datasets, f"load_{dataset}")(as_frame=True).data
    for split in ("val", "test"):
        rows = table_of(record, split)
        likely = rows.filter(like="probability/").to_numpy().astype(float)
        labels = record.run["task"]["classes"]
        loss = metrics.log_loss(rows["target"], likely / likely.sum(axis=1, keepdims=True), labels=labels)
        assert loss == pytest.approx(found[f"{split}/calibrated_loss"], rel=1e-4)
        one_hot = rows["target"].to_numpy()[:, None] == np.array(labels)
        brier = ((likely - one_hot) ** 2).sum(axis=1).mean()
        assert brier == pytest.approx(found[f"{split}/calibrated_brier"], rel=1e-4)
        assert brier != pytest.approx(found[f"{split}/brier"], rel=1e-4)
        assert (rows["target"] == rows["prediction"]).mean() == pytest.approx(found[f"{split}/accuracy"])
        assert load(record.folder).predict(frame.iloc[rows["row"]]) == pytest.approx(likely, abs=1e-6)
    assert load(record.folder, "best").calibration.temperature is None


def test_the_network_that_was_tested_is_calibrated(finished: Any) -> None:
    """Of a pruned run the pruned and the compact one, not what it was before."""
    record = finished("dataset=wine", *LONGER, TEMPERATURE, "pruner=magnitude", "metrics.coverage=0.8")
    frame = datasets.load_wine(as_frame=True).data
    assert load(record.folder, "pruned").calibration.temperature == record.run["metrics"]["temperature"]
    assert load(record.folder, "model").calibration.temperature is None
    with pytest.raises(UsageError, match=r"predict_set needs the tested network .*\.coverage, and this is none"):
        load(record.folder, "model").predict_set(frame)
    assert load(record.folder, "pruned").predict_set(frame).any()


def test_intervals_of_a_regression(finished: Any) -> None:
    """They hold as many validation rows as the quantile says, and of new rows the fraction that is recorded."""
    record = finished("dataset=diabetes", *LONGER, "metrics.coverage=0.9")
    found, raw = record.run["metrics"], datasets.load_diabetes(as_frame=True, scaled=False)
    held = {}
    for split in ("val", "test"):
        rows = table_of(record, split)
        low, high = load(record.folder).predict_interval(raw.data.iloc[rows["row"]]).T
        assert high - low == pytest.approx(found["test/interval_width"])
        held[split] = ((rows["target"] >= low - 1e-3) & (rows["target"] <= high + 1e-3)).mean()
    assert held["test"] == pytest.approx(found["test/coverage"])
    n = record.run["task"]["rows"]["val"]
    assert held["val"] == pytest.approx(np.ceil((n + 1) * 0.9) / n)
    assert found["test/interval_width"] == pytest.approx(2 * found["conformal_halfwidth"])
    with pytest.raises(UsageError, match=r"predict_set needs .* a run on classes .* Train with metrics\.coverage=0\.9"):
        load(record.folder).predict_set(raw.data)


def test_sets_of_classes(finished: Any) -> None:
    """A set has the classes that are likely enough."""
    record = finished("dataset=wine", *LONGER, "metrics.coverage=0.9")
    found, frame = record.run["metrics"], datasets.load_wine(as_frame=True).data
    rows, saved = table_of(record, "test"), load(record.folder)
    sets = saved.predict_set(frame.iloc[rows["row"]])
    right = [record.run["task"]["classes"].index(name) for name in rows["target"]]
    assert sets[np.arange(len(rows)), right].mean() == pytest.approx(found["test/coverage"])
    assert sets.sum(axis=1).mean() == pytest.approx(found["test/set_size"])
    assert (sets == (saved.predict(frame.iloc[rows["row"]]) >= 1 - found["conformal_threshold"] - 1e-12)).all()
    with pytest.raises(UsageError, match=r"predict_interval needs the tested network .* a run on a regression"):
        saved.predict_interval(frame)


@pytest.mark.parametrize("baseline", ["ridge", "random_forest"])
def test_a_baseline_is_calibrated_too(config: Any, baseline: str) -> None:
    """By its log probabilities."""
    asked = f"model={baseline}", "reg=none", "dataset=wine", "tracking=none", TEMPERATURE, "metrics.coverage=0.9"
    small = ("model.n_estimators=9",) if baseline == "random_forest" else ()
    found = run_alone(config(*asked, *small), Display(Console(file=io.StringIO()))).run["metrics"]
    assert found["val/calibrated_loss"] <= found["val/loss"]
    assert 0.7 < found["test/coverage"] <= 1


REFIT = "dataset=wine", "dataset.folds=5", "dataset.fold=all"
RIDGE = "model=ridge", "reg=none"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            ("dataset=diabetes", TEMPERATURE),
            "is for probabilities of classes, and diabetes is a regression. Set",
        ),
        ((*REFIT, TEMPERATURE), "is fitted to validation rows, and dataset.fold=all leaves none. Set metrics"),
        ((*REFIT, *RIDGE, TEMPERATURE), "is fitted to validation rows, and dataset.fold=all leaves none. Set metrics"),
        ((*REFIT, "metrics.coverage=0.9"), "needs 9 validation rows or more, and dataset.fold=all leaves none"),
        (
            ("dataset=wine", "metrics.coverage=0.99"),
            "needs 99 validation rows or more, and wine has 3[56]. Set",
        ),
        (("+experiment=wn", "metrics.coverage=0.9"), "is for predictions, and .* has none. Set metrics.coverage=null"),
    ],
)
def test_what_cannot_be_is_refused(config: Any, asked: Any, message: str) -> None:
    """In one line, before anything is written."""
    with pytest.raises(UsageError, match=f"metrics.(calibrate|coverage)=[a-z0-9.]+ {message}") as error:
        prepare(config(*asked))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", ["metrics.coverage=1", "metrics.coverage=0", "metrics.calibrate=platt"])
def test_values_that_are_none(config: Any, value: str) -> None:
    """The level lies strictly between 0 and 1."""
    with pytest.raises(UsageError, match=r"is not valid|is not one of|should be"):
        config(value)
