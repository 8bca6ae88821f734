"""Ensembles: greedy selection is that of a slow loop, on validation rows alone; what is written predicts as it says."""

import shutil
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from composing import launched
from scipy.special import softmax
from sklearn.datasets import load_diabetes, load_wine
from sklearn.metrics import log_loss, root_mean_squared_error

from psilon_bench.errors import UsageError
from psilon_bench.records.ensemble_json import read_ensemble
from psilon_bench.records.networks import load, load_ensemble
from psilon_bench.records.run_json import read_run
from psilon_bench.report.ensemble import make_ensembles
from psilon_bench.report.ensemble_scores import ensemble_scores, mean_scores
from psilon_bench.report.ensemble_selection import (
    MOST_PICKS,
    cross_entropy,
    greedy_picks,
    root_mean_square,
    weights_of,
)
from psilon_bench.report.metric import Metric
from psilon_bench.report.report import make
from psilon_bench.report.table import Table

TINY = (
    *("model.hidden=4", "model.depth=2", "trainer.epochs=5", "trainer.eval_every=5", "optimizer.lr=0.05"),
    *("tracking=none", "hardware.device=cpu", "hardware.plan=stacked", "metrics.lipschitz_points=1"),
    *("reg.lam=1e-3", "dataset.split_seed=0"),
)


def sweep(jobs: list[list[str]], *common: str) -> None:
    launched([[*TINY, *common, *job] for job in jobs])


def chosen(folder: Path) -> Table:
    return make_ensembles(make([folder], Metric("val/loss", "min")).choices, folder)[0]


def predictions(record: Path, part: str) -> pd.DataFrame:
    return pd.read_parquet(record / "predictions.parquet", filters=[("split", "==", part)])


def by_hand(values: np.ndarray, loss: Any) -> list[int]:
    """The picks of the rule in the module, ensemble by ensemble."""
    path: list[list[int]] = []
    picks: list[int] = []
    for _ in range(MOST_PICKS):
        tried = [[*picks, one] for one in range(len(values))]
        picks = min(tried, key=lambda own: loss(np.mean([values[one] for one in own], axis=0)))
        path.append(picks)
    return min(path, key=lambda own: loss(np.mean([values[one] for one in own], axis=0)))


@pytest.mark.parametrize("seed", range(4))
def test_greedy_picks_are_those_of_a_slow_loop(seed: int) -> None:
    """And the loss is never above that of the best alone; of equal candidates the first is taken."""
    draw = np.random.default_rng(seed)
    for values, loss in (
        (draw.beta(2, 1, size=(6, 17)), cross_entropy),
        (draw.normal(0.3, np.arange(1, 7)[:, None], size=(6, 17)), root_mean_square),
    ):
        picks = greedy_picks(values, loss)
        weights = weights_of(picks, len(values))
        assert np.allclose(weights, weights_of(by_hand(values, loss), len(values)))
        assert loss(weights @ values) <= loss(values).min() + 1e-12
        assert weights.sum() == pytest.approx(1)
        assert set(greedy_picks(np.repeat(values, 2, axis=0), loss)) <= set(range(0, 12, 2))


def test_a_row_of_weight_2_is_two_rows() -> None:
    """In the loss of the choice, for classes and numbers; one of weight 0 is none. Such an ensemble has no scores."""
    draw = np.random.default_rng(0)
    weights = draw.integers(0, 4, size=17)
    for values, loss in ((draw.beta(2, 1, size=(6, 17)), cross_entropy), (draw.normal(size=(6, 17)), root_mean_square)):
        weighted, repeated = partial(loss, weights=weights), np.repeat(values, weights, axis=1)
        np.testing.assert_allclose(weighted(values), loss(repeated))
        assert greedy_picks(values, weighted) == greedy_picks(repeated, loss)
    mean = pd.DataFrame({"target": [1.0, 2.0], "prediction": [1.5, 2.5], "weight": [1.0, 2.0]})
    assert mean_scores(mean, {"kind": "regression"}, None) == {}
    assert mean_scores(mean.drop(columns="weight"), {"kind": "regression"}, None)["test/rmse"] == 0.5


def test_a_candidate_that_nothing_improves_is_alone() -> None:
    """An ensemble of one pick, however its mean with itself is rounded; a probability of 0 is no infinite loss."""
    values = np.array([[0.0, 1.0, 1.0], [0.0, 0.5, 0.2]])
    assert weights_of(greedy_picks(values, cross_entropy), 2).tolist() == [1, 0]
    for seed in range(50):
        errors = np.random.default_rng(seed).uniform(0.1, 1, size=29)
        assert greedy_picks(np.stack([errors, 2 * errors]), root_mean_square) == [0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of networks on two data sets."""
    results = tmp_path_factory.mktemp("ensembles")
    jobs = [[f"dataset={data}", f"seed={seed}"] for data in ("wine", "diabetes") for seed in range(4)]
    sweep(jobs, f"results_dir={results}")
    return results / "runs"


@pytest.mark.parametrize(("dataset", "raw"), [("wine", load_wine), ("diabetes", partial(load_diabetes, scaled=False))])
def test_an_ensemble_predicts_and_scores_as_it_says(folder: Path, dataset: str, raw: Any) -> None:
    """Its losses are scikit-learn's of the weighted mean of predictions, and the loaded networks make these."""
    rows = [row for row in chosen(folder).rows if row[0] == dataset]
    place = folder / "ensembles" / dataset
    made = read_ensemble(place)
    assert made.loss["val"] <= made.loss_of_best["val"]
    assert (made.temperature is None) == (dataset == "diabetes")
    assert sum(member.weight for member in made.members) == pytest.approx(1)
    assert made.candidates == 4
    saved, inputs = load_ensemble(place), raw(as_frame=True).data
    for part in ("val", "test"):
        frames = [predictions(place / member.record, part) for member in made.members]
        mean = np.sum([m.weight * numbers(frame) for m, frame in zip(made.members, frames, strict=True)], axis=0)
        if made.temperature is not None:
            mean = softmax(np.log(mean) / made.temperature, axis=1)
        assert saved.predict(inputs.iloc[frames[0]["row"]]).reshape(mean.shape) == pytest.approx(mean, rel=1e-4)
        assert made.loss[part] == pytest.approx(loss_of(mean, frames[0]["target"], made.task), rel=1e-5)
    assert rows[-1][3:5] == [made.loss["val"], made.loss["test"]]
    assert [cell is None for cell in rows[-1][5:]] == [dataset == "diabetes", dataset == "wine"]
    assert len(rows) == len(made.members) + 2


def numbers(frame: pd.DataFrame) -> np.ndarray:
    """Probabilities (rows, classes), or predictions (rows, 1)."""
    likely = [name for name in frame if name.startswith("probability/")]
    return frame[likely or ["prediction"]].to_numpy(float)


def loss_of(mean: np.ndarray, target: pd.Series, task: dict[str, Any]) -> float:
    """By scikit-learn, from probabilities that float32 has rounded."""
    if task["kind"] == "regression":
        return float(root_mean_squared_error(target, mean[:, 0]) / task["target"]["scale"])
    return float(log_loss(target.astype(str), mean / mean.sum(axis=1, keepdims=True), labels=task["classes"]))


def test_data_sets_without_candidates_cost_no_other_its_ensemble(folder: Path, tmp_path: Path) -> None:
    """Their reason is a note of the report."""
    copy = shutil.copytree(folder, tmp_path / "runs")
    for record in copy.glob("*/run.json"):
        if about(record.parent)["task"]["name"] == "diabetes":
            (record.parent / "predictions.parquet").unlink()
    table, (problem,) = make_ensembles(make([copy], Metric("val/loss", "min")).choices, copy)
    assert {row[0] for row in table.rows} == {"wine"}
    assert "diabetes has no network with its predictions" in problem


@pytest.mark.parametrize("damage", ["cut", "empty", "no target", "no split"])
def test_predictions_that_cannot_be_read_are_told(folder: Path, tmp_path: Path, damage: str) -> None:
    """The file, in one line; the other data set keeps its ensemble."""
    copy = shutil.copytree(folder, tmp_path / "runs")
    file = next(path for path in sorted(copy.glob("*/predictions.parquet")) if "probability" not in columns_of(path))
    if damage.startswith("no "):
        pd.read_parquet(file).drop(columns=damage[3:]).to_parquet(file)
    else:
        file.write_bytes(file.read_bytes()[: 200 if damage == "cut" else 0])
    table, (problem,) = make_ensembles(make([copy], Metric("val/loss", "min")).choices, copy)
    assert {row[0] for row in table.rows} == {"wine"}
    assert problem.startswith(f"{file} cannot be read (")
    assert problem.endswith("). Train the run again.")
    assert "\n" not in problem


def columns_of(file: Path) -> str:
    """The names of the columns of a Parquet file, joined."""
    return " ".join(pd.read_parquet(file).columns)


def test_the_choice_looks_at_no_test_row(folder: Path, tmp_path: Path) -> None:
    """With the test targets in another order: the same members with the same weights, another test loss."""
    copy = tmp_path / "runs"
    shutil.copytree(folder, copy)
    chosen(copy)
    before = read_ensemble(copy / "ensembles/wine")
    for path in copy.glob("*/predictions.parquet"):
        table = pd.read_parquet(path)
        test = table["split"] == "test"
        table.loc[test, "target"] = table.loc[test, "target"].to_numpy()[::-1]
        table.to_parquet(path)
    chosen(copy)
    after = read_ensemble(copy / "ensembles/wine")
    assert after.members == before.members
    assert after.loss["val"] == before.loss["val"]
    assert after.loss["test"] != before.loss["test"]


def test_a_file_that_was_changed_is_not_loaded(folder: Path, tmp_path: Path) -> None:
    """Weights other than those that were chosen, and an ensemble taken for a run."""
    copy = tmp_path / "runs"
    shutil.copytree(folder, copy)
    chosen(copy)
    place = copy / "ensembles/wine"
    with pytest.raises(UsageError, match="is an ensemble of several networks"):
        load(place)
    file = place / read_ensemble(place).members[0].record / "model.pt"
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(UsageError, match=r"model\.pt, of the ensemble in .*, was changed since"):
        load_ensemble(place)
    file.unlink()
    with pytest.raises(UsageError, match=r"is not there\. Choose again: psilon-report --ensemble"):
        load_ensemble(place)


def test_candidates_of_a_cross_validation_are_settings(tmp_path: Path) -> None:
    """Out-of-fold predictions, means over seeds, choose; members are the folds, which share a setting's weight."""
    jobs = [[f"model.hidden={hidden}", f"seed={seed}"] for hidden in (2, 3, 4) for seed in (0, 1)]
    sweep(jobs, f"results_dir={tmp_path}", "dataset=wine", "cv=2")
    chosen(tmp_path / "runs")
    place = tmp_path / "runs/ensembles/wine"
    made = read_ensemble(place)
    assert made.candidates == 3
    shares = Counter(member.weight for member in made.members)
    assert all(count % 4 == 0 for count in shares.values())  # two folds, two seeds
    assert sum(member.weight for member in made.members) == pytest.approx(1)
    assert {about(place / member.record)["params"]["dataset.fold"] for member in made.members} == {0, 1}
    raw = load_wine(as_frame=True).data
    test = predictions(place / made.members[0].record, "test")
    likely = load_ensemble(place).predict(raw.iloc[test["row"]])
    assert made.loss["test"] == pytest.approx(loss_of(likely, test["target"], made.task), rel=1e-5)
    runs = [about(path.parent) for path in (tmp_path / "runs").glob("*/run.json")]
    hidden = {about(place / member.record)["params"]["model.hidden"]: member for member in made.members}
    for size, member in hidden.items():
        own = [r for r in runs if r["params"]["model.hidden"] == size and r["params"]["dataset.fold"] != "all"]
        frames = [
            pd.concat([predictions(r["folder"], "val") for r in own if r["seed"] == seed]).sort_values("row")
            for seed in (0, 1)
        ]
        likely = np.mean([numbers(frame) for frame in frames], axis=0)
        assert member.loss == pytest.approx(loss_of(likely, frames[0]["target"], made.task), rel=1e-6)
    for run in runs:  # as a sweep leaves it that is killed before the second fold of any setting begins
        if run["params"]["dataset.fold"] != 0:
            shutil.rmtree(run["folder"])
    with pytest.raises(UsageError, match="No setting has val/loss of all folds"):
        chosen(tmp_path / "runs")


def test_scalings_of_one_table_are_settings(tmp_path: Path) -> None:
    """One cross-validation chooses between them, one of them trains again, and the ensemble may take both."""
    jobs = [["dataset.scaling=robust"], ["dataset.scaling=quantile"]]
    sweep(jobs, f"results_dir={tmp_path}", "dataset=wine", "cv=2")
    runs = [about(path.parent) for path in (tmp_path / "runs").glob("*/run.json")]
    assert sum(run["params"]["dataset.fold"] == "all" for run in runs) == 1
    chosen(tmp_path / "runs")
    place = tmp_path / "runs/ensembles/wine"
    made = read_ensemble(place)
    assert made.candidates == 2
    raw = load_wine(as_frame=True).data
    test = predictions(place / made.members[0].record, "test")
    likely = load_ensemble(place).predict(raw.iloc[test["row"]])
    assert made.loss["test"] == pytest.approx(loss_of(likely, test["target"], made.task), rel=1e-5)


@pytest.mark.parametrize("split", ["drawn", "given"])
def test_folds_agree_on_a_target_of_zero(tmp_path: Path, split: str) -> None:
    """Each fold scales targets by its own centre, so that a 0 far from it comes back as another small number.

    Whether other test rows are larger, or all of them are 0.
    """
    draw = np.random.default_rng(0)
    table = pd.DataFrame(draw.normal(size=(120, 2)), columns=["a", "b"])
    table["y"] = np.where(draw.random(120) < 0.3, 0, 2e5 + 1e6 * table["a"] + 1e5 * draw.normal(size=120))
    table["part"] = np.where((table["y"] == 0) & (draw.random(120) < 0.5), "test", "train")
    table.to_csv(tmp_path / "profit.csv", index=False)
    data = ["dataset=table", f"dataset.path={tmp_path / 'profit.csv'}", "dataset.target=y", "cv=2", f"name={split}"]
    data += ["dataset.drop=[part]"] if split == "drawn" else ["dataset.split=part"]
    sweep([["model.hidden=2"], ["model.hidden=3"]], f"results_dir={tmp_path}", *data)
    rows = chosen(tmp_path / split).rows
    assert rows[-1][-1] == pytest.approx(ensemble_scores(tmp_path / split / "ensembles" / str(rows[0][0]))["test/rmse"])


def about(record: Path) -> dict[str, Any]:
    found = read_run(record)
    assert found is not None
    return found | {"folder": record}


@pytest.mark.sampled(every=3)
@pytest.mark.parametrize(
    ("jobs", "more", "message"),
    [
        ([["seed=0"]], [], r"breast_cancer has one network to take\. Train more of them: .* with reg\.lam="),
        ([["model=ridge", "reg=none"]], [], r"has no network with its predictions"),
        (
            [["dataset.split_seed=0"], ["dataset.split_seed=1"]],
            [],
            r"on the same validation rows, .* differ\.",
        ),
        ([["dataset.fold=0"], ["dataset.fold=1"]], ["dataset.folds=2"], r"differ.* and cv=5 for folds"),
    ],
)
def test_what_has_no_ensemble_is_told(tmp_path: Path, jobs: Any, more: list[str], message: str) -> None:
    """One line, and nothing is written."""
    base = [one for one in TINY if not one.startswith(("model.", "reg."))] if "model=ridge" in jobs[0] else [*TINY]
    launched([[*base, f"results_dir={tmp_path}", *more, *job] for job in jobs])
    with pytest.raises(UsageError, match=message) as raised:
        chosen(tmp_path / "runs")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "runs/ensembles").exists()
