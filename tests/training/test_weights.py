"""Weights of rows: a row of weight 2 is two rows, and classes may count alike."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from lone_runs import assert_lone_runs, ran
from rich.console import Console
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss, root_mean_squared_error
from sklearn.utils.class_weight import compute_sample_weight

from psilon_bench.config.schema import Config
from psilon_bench.data.quantiles import weighted_quantiles
from psilon_bench.data.task import Split, Task
from psilon_bench.errors import UsageError
from psilon_bench.metrics import prediction
from psilon_bench.metrics.certificate import certified_accuracy
from psilon_bench.metrics.out_of_fold import FoldValue, out_of_fold
from psilon_bench.run.checks import member_of, prepare
from psilon_bench.run.display import Display
from psilon_bench.run.run import run_alone
from psilon_bench.training.batches import Batches, Rows
from psilon_bench.training.class_weight import balanced_classes, training_splits

CPU = torch.device("cpu")
KINDS = ("regression", "binary", "multiclass")
TINY = ("trainer.epochs=4", "trainer.eval_every=2", "model.hidden=4", "model.depth=1", "optimizer.lr=0.1")


def weighted(split: Split, seed: int = 0, low: int = 0) -> Split:
    """The split with whole weights, some of them 0."""
    weights = np.random.default_rng(seed).integers(low, 4, len(split))
    return replace(split, weights=torch.from_numpy(weights.astype(float)))


def repeated(split: Split) -> Split:
    """The split with each row as often as its weight says."""
    assert split.weights is not None
    index = torch.arange(len(split)).repeat_interleave(split.weights.long())
    return Split(split.x[index], split.y[index])


@pytest.mark.parametrize("kind", KINDS)
def test_weighted_scores_are_scikit_learns(kind: Any, task: Callable[..., Task]) -> None:
    split = weighted(task(kind).train)
    logits = torch.randn(len(split), 3 if kind == "multiclass" else 1).double()
    y = split.y if kind == "multiclass" else split.y.double()
    assert split.weights is not None
    w, scores = split.weights.numpy(), prediction.scores(kind, logits, y, shares=split.shares)
    if kind == "regression":
        assert scores["loss"].item() == pytest.approx(root_mean_squared_error(y, logits, sample_weight=w))
        return
    likely, flat = prediction.probabilities(kind, logits), y.flatten().long()
    labels = range(likely.shape[1])
    assert scores["loss"].item() == pytest.approx(log_loss(flat, likely, sample_weight=w, labels=labels))
    assert scores["accuracy"].item() == pytest.approx(accuracy_score(flat, likely.argmax(dim=1), sample_weight=w))
    again = repeated(Split(logits, y, weights=split.weights))
    bound = torch.tensor(1.0)
    assert certified_accuracy(kind, logits, y, bound, 0.3, split.shares).item() == pytest.approx(
        certified_accuracy(kind, again.x, again.y, bound, 0.3).item()
    )


@pytest.mark.parametrize("kind", KINDS)
def test_an_integer_weight_is_a_repeated_row(kind: Any, task: Callable[..., Task], config: Any) -> None:
    """To 1e-10 in float64 and full batches: parameters and all losses, of training and validation."""
    made = task(kind)
    made = replace(made, train=weighted(made.train), val=weighted(made.val, 1))
    twice = replace(made, train=repeated(made.train), val=repeated(made.val))
    settings = config(*TINY, "trainer.num_batches=1")
    one, other = (ran([member_of(settings, data)]) for data in (made, twice))
    assert one[1][0] == pytest.approx(other[1][0], rel=1e-10)
    for name, value in one[0].stack.tensors.items():
        torch.testing.assert_close(value, other[0].stack.tensors[name], rtol=0, atol=1e-10)
    plain = replace(made, train=replace(made.train, weights=None))
    assert ran([member_of(settings, plain)])[1][0]["train/loss"] != pytest.approx(one[1][0]["train/loss"], rel=1e-3)


def test_batches_have_the_weighted_loss_on_average(task: Callable[..., Task]) -> None:
    """The mean over equal batches is the loss of all rows, also where a batch has no weight at all."""
    split = task("binary").train
    split = Split(split.x[:20], split.y[:20], weights=torch.tensor([0.0] * 12 + [1, 2, 3, 0.5, 7, 0, 1, 1]).double())
    logits = torch.randn(20, 1).double()
    rows = Rows([Split(logits, split.y, weights=split.weights)], CPU, torch.float64)
    losses = [prediction.loss("binary", x[0], y[0], s["shares"][0]) for x, y, s in Batches(rows, [1], 10, None).epoch()]
    whole = prediction.loss("binary", logits, split.y.double(), split.shares)
    assert min(losses).item() == 0
    assert torch.stack(losses).mean().item() == pytest.approx(whole.item(), rel=1e-12)


@pytest.mark.sampled(every=3)
@pytest.mark.parametrize("sizes", [{"num_batches": 1}, {"num_batches": 4}, {"batch_size": 5}])
@pytest.mark.parametrize("kind", KINDS)
def test_splits_of_unequal_length_train_as_one_stack(kind: Any, sizes: Any, task: Any, config: Any) -> None:
    """Each member is the lone run on its rows, with its batches, whoever fills up; to 1e-10 in float64."""
    short, long = task(kind, sizes=(22, 9, 7)), task(kind, seed=1, sizes=(24, 11, 7))
    long = replace(long, train=weighted(long.train, low=1))
    settings = [config(*TINY, *(f"trainer.{k}={v}" for k, v in sizes.items()), f"reg.lam={lam}") for lam in (0.1, 0.5)]
    assert_lone_runs([(one, data) for data in (short, long) for one in settings])


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_balanced_classes_count_alike(kind: Any, task: Callable[..., Task]) -> None:
    """The weights are scikit-learn's; on weighted rows they are those of the repeated rows."""
    made = task(kind)
    (split,) = training_splits([made], "balanced")
    assert split.weights is not None
    np.testing.assert_allclose(split.weights, compute_sample_weight("balanced", made.train.y.flatten()))
    rows = replace(made, train=weighted(made.train))
    (one,) = training_splits([rows], "balanced")
    (other,) = training_splits([replace(made, train=repeated(rows.train))], "balanced")
    assert one.weights is not None
    assert rows.train.weights is not None
    assert other.weights is not None
    often = rows.train.weights.long()
    again = (one.weights / rows.train.weights).repeat_interleave(often)
    np.testing.assert_allclose(again, other.weights)
    assert training_splits([made, made], "balanced")[0] is not made.train
    assert training_splits([made], None)[0] is made.train


def table(path: Path) -> pd.DataFrame:
    """A small table of two unequal classes with whole weights, written as CSV."""
    draw = np.random.default_rng(3)
    frame = pd.DataFrame(draw.normal(size=(40, 2)), columns=["a", "b"]).assign(w=draw.integers(1, 4, 40))
    frame["y"] = np.where(frame["a"] > 0.4, "rare", "usual")
    frame["part"] = np.array(["train", "train", "val", "test"])[np.arange(40) % 4]
    frame.to_csv(path, index=False)
    return frame


FROM_TABLE = ("dataset=table", "dataset.path=t.csv", "dataset.target=y", "dataset.split=part", "tracking=none")
OF_TABLE = (*FROM_TABLE, *TINY)


def test_a_run_with_weights_is_the_run_with_repeated_rows(config: Any) -> None:
    """A column of a table, from the file to the network: scaling, training and validation, in full batches."""
    frame = table(Path("t.csv"))
    frame.loc[frame.index.repeat(frame["w"])].assign(w=1).to_csv("r.csv", index=False)
    asked = ("trainer.num_batches=1", "trainer.class_weight=balanced", "dataset.weights=w")
    one = ran([prepare(config(*OF_TABLE, *asked))])
    other = ran([prepare(config(*OF_TABLE, *asked, "dataset.path=r.csv"))])
    assert one[1][0] == pytest.approx(other[1][0], rel=1e-6)  # inputs are in float32
    assert "rows are weighted by 'w'" in " ".join(prepare(config(*OF_TABLE, *asked)).task.notes)
    assert prepare(config(*OF_TABLE, *asked)).task.feature_names == ["a", "b"]


def test_a_record_and_a_baseline_have_the_weights(config: Callable[..., Config]) -> None:
    """predictions.parquet has them, run.json their sum; test/loss is a weighted mean; a baseline fits with them."""
    frame = table(Path("t.csv"))
    asked = ("dataset.weights=w", "trainer.class_weight=balanced", "model=ridge", "reg=none")
    record = run_alone(config(*FROM_TABLE, *asked), Display(Console(file=io.StringIO())))
    predicted = pd.read_parquet(record.folder / "predictions.parquet").query("split == 'test'")
    expected = log_loss(predicted["target"], predicted["probability/usual"], sample_weight=predicted["weight"])
    assert record.run["metrics"]["test/loss"] == pytest.approx(expected, rel=1e-4)
    assert predicted["weight"].tolist() == frame["w"].iloc[predicted["row"]].tolist()
    assert record.run["task"]["val_weight"] == frame["w"][frame["part"] == "val"].sum()
    train = frame[frame["part"] == "train"]
    scaled = train[["a", "b"]] - np.average(train[["a", "b"]], axis=0, weights=train["w"])
    scaled /= np.sqrt(np.average(scaled**2, axis=0, weights=train["w"]))
    of_class = train["y"].map(train["w"].sum() / (2 * train.groupby("y")["w"].sum()))
    model = LogisticRegression().fit(scaled, train["y"], sample_weight=train["w"] * of_class)
    metrics = record.run["metrics"]
    assert metrics["path_norm"] == pytest.approx(np.abs(model.coef_).sum(), rel=1e-3)


def test_weights_are_part_of_what_is_computed(config: Callable[..., Config]) -> None:
    """Without them a run has the fingerprint that it had before there were any."""
    table(Path("t.csv"))
    without = config(*OF_TABLE)
    assert "class_weight" not in without.trainer.determining()
    assert "weights" not in without.dataset.determining()
    for model in ("pnet", "ridge"):
        asked: tuple[list[str], ...] = (["dataset.weights=w"], ["trainer.class_weight=balanced"], [])
        assert len({config(*FROM_TABLE, f"model={model}", *own).fingerprint() for own in asked}) == 3


def test_a_class_that_does_not_count_weighs_nothing(task: Callable[..., Task]) -> None:
    """The other classes count alike, and no weight is NaN."""
    made = task("multiclass").train
    gone = (made.y.flatten() != 1).double()
    split = balanced_classes(replace(made, weights=gone))
    assert split.weights is not None
    sums = torch.zeros(3).double().index_add(0, made.y.flatten().long(), split.weights)
    torch.testing.assert_close(sums, torch.tensor([1.0, 0, 1.0]).double() * gone.sum() / 2)


@pytest.mark.parametrize("unit", [0.1, 1 / 3, 7.5])
def test_quantiles_do_not_depend_on_the_unit_of_weights(unit: float) -> None:
    """Weights of .3 and .1 are those of 3 and 1: they shift no quantile beyond its two neighbours."""
    draw = np.random.default_rng(0)
    values, whole = draw.normal(size=31), draw.integers(0, 4, 31)
    ranks = [0.25, 0.5, 0.75]
    expected = np.quantile(values.repeat(whole), ranks)
    np.testing.assert_allclose(weighted_quantiles(values, ranks, whole), expected)
    found = weighted_quantiles(values, ranks, whole * unit)
    ordered = np.sort(values.repeat(whole))
    np.testing.assert_allclose(found, weighted_quantiles(values, ranks, whole * unit / 4096))
    assert (np.abs(np.searchsorted(ordered, found) - np.searchsorted(ordered, expected)) <= 4).all()


@pytest.mark.parametrize("asked", ["metrics.calibrate=temperature", "metrics.coverage=0.5"])
def test_what_counts_rows_alike_is_refused_on_weighted_rows(asked: str, config: Callable[..., Config]) -> None:
    table(Path("t.csv"))
    with pytest.raises(UsageError, match=rf"^{asked} counts all rows alike, and dataset.weights=w does not. Leave one"):
        prepare(config(*OF_TABLE, "dataset.weights=w", asked))


def test_scores_that_count_rows_alike_are_left_out(config: Callable[..., Config]) -> None:
    """An unweighted Brier score beside a weighted loss would be a wrong number without a word."""
    table(Path("t.csv"))
    display = Display(Console(file=io.StringIO()))
    without, with_weights = (run_alone(config(*OF_TABLE, *more), display) for more in ((), ("dataset.weights=w",)))
    extra = set(without.run["metrics"]) - set(with_weights.run["metrics"])
    assert {"test/brier", "val/f1", "constant/test/loss"} <= extra
    assert "test/loss" in with_weights.run["metrics"]


def test_out_of_fold_values_weigh_folds_by_their_weights() -> None:
    folds = [FoldValue(0, 1.0, 2.5), FoldValue(0, 3.0, 7.5)]
    assert out_of_fold(folds, squared=False).mean == pytest.approx(2.5)


def test_class_weights_of_a_regression_are_refused(config: Callable[..., Config]) -> None:
    with pytest.raises(UsageError, match=r"^trainer.class_weight=balanced weighs classes, and diabetes is a task"):
        prepare(config("dataset=diabetes", "trainer.class_weight=balanced"))


@pytest.mark.parametrize(
    ("row", "value", "message"),
    [
        (4, "", r"^dataset.weights=w must hold finite numbers of at least 0, but line 6 is empty. Correct the cell.$"),
        (2, -1, r"^dataset.weights=w must hold .*, but line 4 holds -1. Correct the cell.$"),
        (slice(None), 0, r"the weights of all 20 train rows of t are 0. Take other weights"),
        (slice(None), "x", r"^dataset.weights=w must hold numbers, but holds 'x'. Take another column.$"),
    ],
)
def test_weights_that_are_none_are_one_line(row: Any, value: Any, message: str, config: Any) -> None:
    frame = table(Path("t.csv")).astype({"w": object})
    frame.loc[row, "w"] = value
    frame.to_csv("t.csv", index=False)
    with pytest.raises(UsageError, match=message):
        prepare(config(*OF_TABLE, "dataset.weights=w"))
    frame.assign(y=np.where(np.arange(len(frame)) % 6, frame["y"], "odd"), w=np.arange(len(frame)) % 6).to_csv("t.csv")
    with pytest.raises(UsageError, match=r"every class, but \d+ rows of t with weights above 0 miss some of the 3"):
        prepare(config(*OF_TABLE, "dataset.weights=w"))
    with pytest.raises(UsageError, match=r"^dataset.weights must name columns, but y are none"):
        prepare(config(*OF_TABLE, "dataset.weights=y"))
