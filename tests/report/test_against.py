"""Published numbers beside ours: ranks and scores by hand, all spellings, and files that are wrong."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from made_records import write_record
from scipy.stats import rankdata
from sklearn.metrics import log_loss, roc_auc_score, root_mean_squared_error

from psilon_bench.cli.report import report
from psilon_bench.config.conf_folder import CONF
from psilon_bench.errors import UsageError
from psilon_bench.report.against import compare_with
from psilon_bench.report.against_tables import against_tables
from psilon_bench.report.ensemble_scores import ensemble_scores
from psilon_bench.report.figures.against import BEST, shown_methods
from psilon_bench.report.metric import chosen_by
from psilon_bench.report.our_tests import our_tests
from psilon_bench.report.published import read_published
from psilon_bench.report.report import make
from psilon_bench.sweep.jobs import launch

LOSS = chosen_by("val/loss", None)
METHODS = [f"m{number}" for number in range(7)]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two methods of ours on a regression and on two data sets of classes, seeds of unequal numbers."""
    draw = np.random.default_rng(1)
    for dataset, kind, seeds in (("sea", "regression", 3), ("air", "binary", 2), ("soil", "multiclass", 1)):
        for model in ("pnet", "mlp"):
            for seed in range(seeds):
                names = ("rmse", "r2") if kind == "regression" else ("accuracy", "loss", "roc_auc")
                metrics = {f"test/{name}": float(draw.uniform(0.3, 0.9)) for name in names}
                metrics |= {"val/loss": 1.0, "time/fit_s": float(draw.uniform(1, 9))}
                params = {"model.name": model, "dataset.split": "split.csv"}
                write_record(tmp_path / "runs", 1e-3, seed, metrics, dataset=dataset, kind=kind, params=params)
    return tmp_path / "runs"


def frame_of(names: Any = ("rmse", "roc_auc", "log_loss"), seed: int = 0) -> pd.DataFrame:
    """Published numbers of seven methods on the three data sets, with ties; one method is not on all."""
    draw = np.random.default_rng(seed)
    rows = [
        {"dataset": dataset, "method": method, "metric": metric, "value": round(float(draw.uniform(0.5, 0.9)), 1)}
        for dataset, metric in zip(("sea", "air", "soil"), names, strict=True)
        for method in METHODS
        if (dataset, method) != ("soil", "m6")
    ]
    return pd.DataFrame(rows).assign(seconds=np.arange(1, len(rows) + 1))


def compared(runs: Path, frame: Any, fold_key: str | None = None, name: str = "published.csv") -> Any:
    file = runs.parent / name
    frame.to_csv(file, index=False) if name.endswith(".csv") else frame.to_parquet(file)
    return compare_with(read_published(file), our_tests(make([runs], LOSS).choices, fold_key))


def records(made: Any, name: str) -> list[dict[str, Any]]:
    (table,) = [table for table in against_tables(made) if table.name == name]
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def texts(made: Any) -> list[Any]:
    return [(table.name, table.texts(), table.note) for table in against_tables(made)]


def test_ranks_and_scores_by_hand(runs: Path) -> None:
    """Ranks are scipy's; a score is (median - cost) / (median - best), at least 0, downwards as upwards."""
    frame = frame_of()
    made = compared(runs, frame)
    signs = {"sea": 1, "air": -1, "soil": 1}
    choices = make([runs], LOSS).choices
    metrics = {"sea": "test/rmse", "air": "test/roc_auc", "soil": "test/loss"}
    for one in made.standings:
        own = frame[frame.dataset == one.dataset]
        value = dict(zip(own.method, own.value, strict=True))
        value |= {
            f"{c.group.method} (ours)": float(np.mean([run.metrics[metrics[one.dataset]] for run in c.group.runs]))
            for c in choices
            if c.group.dataset == one.dataset
        }
        cost = signs[one.dataset] * np.array([round(value[method], 6) for method in one.costs.index])
        assert len(cost) == (9 if one.dataset != "soil" else 8)
        np.testing.assert_array_equal(one.ranks, rankdata(cost))
        median = np.median(cost)
        np.testing.assert_allclose(one.scores, np.clip((median - cost) / (median - cost.min()), 0, 1), atol=1e-4)
    by_method = {row["method"]: row["mean rank"] for row in records(made, "against_ranks")}
    costs = pd.DataFrame({one.dataset: one.costs for one in made.standings}).dropna()
    assert "m6" not in by_method
    np.testing.assert_allclose([by_method[m] for m in costs.index], np.mean([rankdata(c) for _, c in costs.items()], 0))


def test_ours_against_ourselves_are_ties(runs: Path) -> None:
    """What we publish with all digits, in whatever order, has the rank and the score of ours, and neither wins."""
    frame = frame_of()
    ours = [
        {"dataset": one.dataset, "method": f"again {s.method[:-7]}", "metric": metric, "value": s.value, "seconds": 1}
        for one, metric in zip(compared(runs, frame).standings, ("roc_auc", "rmse", "log_loss"), strict=True)
        for s in one.ours
    ]
    made = compared(runs, pd.DataFrame(ours))
    for row in records(made, "against_pairs"):
        if row["against"] == f"again {row['method'][:-7]}":
            assert (row["wins / ties / losses"], row["score difference"]) == ("0 / 3 / 0", 0.0)
    for one in made.standings:
        assert all(one.ranks[s.method] == one.ranks[f"again {s.method[:-7]}"] for s in one.ours)
        assert sorted(one.ranks) == [1.5, 1.5, 3.5, 3.5]


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_lines_says_nothing(runs: Path, seed: int) -> None:
    """All tables are the same, with several metrics on a data set, too."""
    frame = pd.concat([frame_of(), frame_of(("r2", "accuracy", "test_ll"), 1)])
    again = frame.sample(frac=1, random_state=seed)
    assert texts(compared(runs, again)) == texts(compared(runs, frame))


@pytest.mark.parametrize("name", ["other.csv", "other.parquet"])
def test_spellings_say_the_same(runs: Path, name: str) -> None:
    """value, mean and metric_error; accuracy, 1 - accuracy and error; seconds and time_train_s; CSV and Parquet."""
    frame = frame_of(("rmse", "accuracy", "log_loss"))
    expected = texts(compared(runs, frame))
    turned = frame.metric == "accuracy"
    errors = frame.assign(value=frame.value.where(~turned, 1 - frame.value))
    for other in (
        frame.rename(columns={"value": "mean", "seconds": "time_train_s"}).assign(source="a paper"),
        errors.rename(columns={"value": "metric_error"}),
        errors.assign(metric=frame.metric.where(~turned, "error")),
        errors.assign(metric=frame.metric.where(~turned, "1 - accuracy")),
    ):
        assert texts(compared(runs, other, name=name)) == expected


def test_what_is_not_compared_is_listed(runs: Path) -> None:
    """By reason: metrics, data sets, methods, values that are missing or rounded; nothing is compared twice."""
    frame = pd.concat([frame_of(), frame_of(("test_ll", "mae", "roc_auc"), 1)])
    frame.loc[frame.metric == "roc_auc", "dataset"] = frame.loc[frame.metric == "roc_auc", "dataset"].replace(
        "soil", "moon"
    )
    frame["precision"] = ["1 decimal", *["exact"] * (len(frame) - 1)]
    frame.loc[(frame.dataset == "moon") & (frame.method == "m5"), "value"] = None
    made = compared(runs, frame)
    assert {reason: sorted(what) for reason, what in made.left_out.items()} == {
        "a published method has no value": ["m5 on moon"],
        "a data set of the file that we lack": ["moon"],
        "no metric of ours is test_ll": ["sea (7 numbers)"],
        "our data set is a task of binary, which has no mae": ["air (7 numbers)"],
        "compared all the same, but the file says of the number: 1 decimal": ["m0 on sea"],
        "a method that is not on all 3 data sets has no mean rank": ["m6"],
    }
    assert made.notes == [
        "air, sea, soil: that our test rows are the published ones is not proved, for no record says so."
    ]


def write_splits(runs: Path, splits: Any, key: str = "dataset.split", lams: Any = (1e-3, 1e-2)) -> Any:
    """One data set on several splits; the worse setting on validation rows is the better one on test rows."""
    rmse = {split: 1.0 + 0.1 * split * split for split in splits}
    for split, value in rmse.items():
        for lam in lams:
            params = {key: f"/data/of_2/split_{split}.csv", "dataset.split_seed": 0}
            own = {"val/loss": lam, "test/rmse": value - lam + lams[0], "time/fit_s": 2.0 + split}
            write_record(runs, lam, 0, own, dataset="sea", kind="regression", params=params)
    return rmse


def test_means_are_over_the_splits_in_common(tmp_path: Path) -> None:
    """Ours have 1, 2, 11, theirs 0 to 9 but for one method; times are those of all settings on a split."""
    rmse = write_splits(tmp_path / "runs", (1, 2, 11))
    rows = [
        {"dataset": "sea", "split": split, "method": method, "metric": "rmse", "value": 5.0 + split, "seconds": split}
        for method in ("a", "b")
        for split in range(10)
        if (method, split) != ("b", 2)
    ]
    made = compared(tmp_path / "runs", pd.DataFrame(rows), "dataset.split")
    ((ours,), (theirs,)) = made.standings[0].ours, made.standings[0].theirs
    assert (ours.value, ours.n) == (pytest.approx((rmse[1] + rmse[2]) / 2), 2)
    assert ours.sd == pytest.approx(np.std([rmse[1], rmse[2]], ddof=1))
    assert ours.seconds == pytest.approx(np.mean([2 * 3.0, 2 * 4.0]))
    assert (theirs.method, theirs.value, theirs.n, theirs.seconds) == ("a", 6.5, 2, 1.5)
    assert made.left_out == {"a published method lacks a split": ["b on sea"]}
    assert made.notes == [
        "sea: that our rows of a split are the published ones rests on dataset.split, from which its number is read.",
        "sea: compared on the 2 splits in common (1, 2), of 10 in the file.",
    ]


def test_means_of_other_splits_are_told(tmp_path: Path) -> None:
    """A file without splits is compared with the mean of ours; its standard error becomes a standard deviation."""
    rmse = write_splits(tmp_path / "runs", (1, 2, 4))
    row = {"dataset": "sea", "method": "a", "metric": "rmse", "mean": 3.0, "stderr": 0.5, "n_splits": 16}
    made = compared(tmp_path / "runs", pd.DataFrame([row]), "dataset.split")
    assert made.standings[0].ours[0].value == pytest.approx(np.mean(list(rmse.values())))
    assert (made.standings[0].theirs[0].sd, made.standings[0].theirs[0].n) == (2.0, 16)
    assert (
        "sea: ours are means over 3 splits, theirs over 16, some of which may be harder: ranks are rough." in made.notes
    )


def test_folds_of_openml_are_in_the_record(tmp_path: Path) -> None:
    """test_fold is the fold, of another repeat than the first it is none of the file's; no note says it is unproved."""
    for fold, repeat in ((0, 0), (1, 0), (0, 1)):
        params = {"dataset.splits": "openml", "dataset.test_fold": fold, "dataset.test_repeat": repeat}
        own = {"val/loss": 1.0, "test/rmse": 1.0 + fold + 10 * repeat}
        write_record(tmp_path / "runs", 1e-3, 0, own, dataset="sea", kind="regression", params=params)
    rows = [{"dataset": "sea", "fold": f, "method": "a", "metric": "rmse", "value": 1.0 + f} for f in range(2)]
    made = compared(tmp_path / "runs", pd.DataFrame(rows))
    assert made.standings[0].ours[0].value == made.standings[0].theirs[0].value == 1.5
    assert made.notes == ["sea: compared on the 2 splits in common (0, 1), of 2 in the file."]


def test_a_name_is_that_of_the_data_or_of_the_file(tmp_path: Path) -> None:
    """The record's name first, then dataset.name, then the stem of dataset.path; drawn rows are told."""
    for label, params in (("task 7", {"dataset.name": "sea"}), ("b", {"dataset.path": "/x/air.csv"}), ("soil", {})):
        own = {"val/loss": 1.0, "test/rmse": 2.0}
        write_record(tmp_path / "runs", 1e-3, 0, own, dataset=label, kind="regression", params=params)
    made = compared(tmp_path / "runs", frame_of(("rmse", "rmse", "rmse")))
    assert {one.dataset for one in made.standings} == {"sea", "air", "soil"}
    assert re.match("air, soil, sea: our test rows were drawn, so they are others", made.notes[0])


GOOD = "dataset,method,metric,value,sd,n,seconds,fold\nsea,a,rmse,1.5,.1,3,7,0\nsea,b,rmse,2.5,.1,3,7,0\n"
WRONG = {
    "": r"has no rows",
    GOOD.splitlines()[0]: r"has no rows",
    GOOD.replace("method", "model"): r"lacks method\. Columns: dataset, model, metric",
    GOOD.replace(
        "value", "number"
    ): r"one of value, mean, metric_error, but lacks value or mean or metric_error|lacks value",
    GOOD.replace(",sd,", ",mean,"): r"must have one of the columns value and mean\. Remove",
    GOOD.replace("sea,b", "sea,a"): r", line 3: sea 0 a rmse must have one number, but line 2 has one, too",
    GOOD.replace("2.5", "good"): r", line 3: value must be a finite number, but it is 'good'\. Correct it",
    GOOD.replace("2.5", "nan"): r", line 3: value must be a finite number, but it is 'nan'",
    GOOD.replace("2.5", "-inf"): r", line 3: value must be a finite number, but it is '-inf'",
    GOOD.replace("1.5", "").replace("2.5", ""): r"must have a number in some row",
    GOOD.replace(".1,3,7,0\n", "-1,3,7,0\n", 1): r", line 2: sd must be a finite number of at least 0, but it is '-1'",
    GOOD.replace("3,7", "2.5,7"): r", line 2: n must be a whole number, but it is '2\.5'",
    GOOD.replace("7,0\n", "7,\n"): r", line 2: fold or split must be a whole number, but it is empty",
    GOOD.replace("7,0\n", "7,0,9\n"): r", line 2 must have 8 fields, but it has 9",
    GOOD.replace("sea,b", ",b"): r", line 3: dataset must be a name, but it is empty",
    GOOD.replace(
        "rmse,2.5", "accuracy,97.5"
    ): r", line 3: value of accuracy must lead to a number from 0 to 1, .* 97\.5",
    GOOD.replace("rmse", "roc_auc")
    .replace("1.5", ".1")
    .replace("2.5", ".2"): r"better than guessing, but their median",
    GOOD.replace("sea", "moon"): r"it has no data set of ours, air, sea, soil\. It has moon\. Give one",
    GOOD.replace("rmse", "test_ll"): r"none of its numbers can be compared with ours \(.*no metric of ours is test_ll",
    GOOD.replace("rmse", "roc_auc")
    .replace("1.5", ".8")
    .replace("2.5", ".9"): r"a task of regression, which has no roc_auc",
    GOOD.replace(",b,", ",b (ours),"): r"the method b \(ours\) is named as ours are",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_file_that_is_wrong_is_told_in_one_line(runs: Path, text: str) -> None:
    """Rule, value and remedy, with the line."""
    file = runs.parent / "published.csv"
    file.write_text(text)
    with pytest.raises(UsageError, match=WRONG[text]) as raised:
        compare_with(read_published(file), our_tests(make([runs], LOSS).choices))
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(f"--against {file}")


@pytest.mark.parametrize("name", ["absent.csv", "broken.parquet", "latin.csv"])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    """None there, no Parquet, no UTF-8."""
    if name != "absent.csv":
        (tmp_path / name).write_bytes(GOOD.replace("sea", "sée").encode("latin-1"))
    with pytest.raises(UsageError, match=r"must name a file|must be a CSV or Parquet table, but it cannot be read"):
        read_published(tmp_path / name)


def test_splits_that_nothing_tells_apart(tmp_path: Path) -> None:
    """Several of our data sets of one name are not averaged, a key needs a number, and one split is not four."""
    write_splits(tmp_path / "runs", (1, 2))
    rows = [{"dataset": "sea", "split": s, "method": "a", "metric": "rmse", "value": 1.0} for s in range(4)]
    frame = pd.DataFrame(rows)
    with pytest.raises(UsageError, match=r"must be named sea, not 2: sea .* --against-fold KEY"):
        compared(tmp_path / "runs", frame)
    with pytest.raises(UsageError, match=r"--against-fold dataset\.name must have a value with the number of a split"):
        compared(tmp_path / "runs", frame, "dataset.name")
    write_splits(tmp_path / "one/runs", (1,))
    with pytest.raises(UsageError, match=r"our runs do not say on which split: --against-fold KEY"):
        compared(tmp_path / "one/runs", frame)


def test_a_diagram_shows_some_methods() -> None:
    """The best, the median one, and ours wherever they are; all where they are few."""
    ranked = [f"m{number}" for number in range(70)]
    assert shown_methods(ranked, ["m40", "m3"]) == [*ranked[:BEST], "m34", "m40"]
    assert shown_methods(ranked[:5], ["m4"]) == ranked[:5]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny sweep on three bundled data sets."""
    results = tmp_path_factory.mktemp("swept")
    tiny = ("model.hidden=4", "model.depth=2", "trainer.epochs=5", "trainer.eval_every=5", "optimizer.lr=0.05")
    tiny += (
        "tracking=none",
        "hardware.plan=stacked",
        "hardware.device=cpu",
        "metrics.lipschitz_points=1",
        "dataset.split_seed=0",
    )
    jobs = [
        [*tiny, f"results_dir={results}", f"dataset={data}", f"reg.lam={lam}"]
        for data in ("wine", "diabetes", "breast_cancer")
        for lam in (1e-3, 1e-2)
    ]
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        launch(jobs, lambda job: compose("config", job, return_hydra_config=True))
    return results / "runs"


def test_an_ensemble_scores_as_scikit_learn_says(swept: Path) -> None:
    """Of one member its scores are those of the run; of two, scikit-learn's of the mean of their predictions."""
    for kind in ("regression", "binary", "multiclass"):
        runs = [
            path for path in sorted(swept.glob("*/run.json")) if json.loads(path.read_text())["task"]["kind"] == kind
        ]
        own = [json.loads(path.read_text()) for path in runs]
        alone = ensemble_scores(write_ensemble(swept, [runs[0]], own[0], [1.0]))
        for name, value in alone.items():
            if name != "test/loss" or kind != "regression":
                assert value == pytest.approx(own[0]["metrics"][name], rel=1e-4, abs=1e-6), (kind, name)
        both = ensemble_scores(write_ensemble(swept, runs, own[0], [0.25, 0.75]))
        frames = [pd.read_parquet(path.parent / "predictions.parquet").query("split == 'test'") for path in runs]
        columns = [name for name in frames[0] if name.startswith("probability/")] or ["prediction"]
        mean = 0.25 * frames[0][columns].to_numpy(float) + 0.75 * frames[1][columns].to_numpy(float)
        target = frames[0]["target"]
        if kind == "regression":
            assert both["test/rmse"] == pytest.approx(root_mean_squared_error(target, mean[:, 0]))
            continue
        mean /= mean.sum(axis=1, keepdims=True)
        words = target.astype(str)
        assert both["test/accuracy"] == np.mean(np.array(own[0]["task"]["classes"])[mean.argmax(axis=1)] == words)
        assert both["test/loss"] == pytest.approx(log_loss(words, mean, labels=own[0]["task"]["classes"]), rel=1e-5)
        scored = mean[:, 1] if kind == "binary" else mean
        auc = roc_auc_score(
            words == own[0]["task"]["classes"][1] if kind == "binary" else words, scored, multi_class="ovr"
        )
        assert both["test/roc_auc"] == pytest.approx(auc, abs=1e-6)


def write_ensemble(folder: Path, runs: list[Path], run: Any, weights: list[float]) -> Path:
    from psilon_bench.records import ensemble_json

    members = [
        {
            "record": f"../{path.parent.name}",
            "title": "",
            "which": "model",
            "weight": w,
            "loss": 0.0,
            "sha256": "0" * 64,
        }
        for path, w in zip(runs, weights, strict=True)
    ]
    about: dict[str, Any] = {"task": run["task"], "data": "", "members": members, "picks": 1, "candidates": 2}
    made = ensemble_json.EnsembleJson.model_validate(about | {"loss": {}, "loss_of_best": {}})
    ensemble_json.write_ensemble(folder / "made", made)
    return folder / "made"


def test_a_report_against_published_numbers(swept: Path, tmp_path: Path) -> None:
    """The whole command: ours, the ensemble and theirs in tables and figures; a file that is wrong costs no report."""
    metrics = {"wine": "log_loss", "diabetes": "rmse", "breast_cancer": "roc_auc"}
    rows = [
        {"dataset": data, "fold": 0, "method": f"m{k}", "metric": m, "metric_error": 0.1 + k / 9, "time_train_s": k + 1}
        for data, m in metrics.items()
        for k in range(4)
    ]
    file = tmp_path / "published.csv"
    pd.DataFrame(rows).to_csv(file, index=False)
    arguments = [str(swept), "--ensemble", "--no-attach", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(report, [*arguments, "--against", str(file)], catch_exceptions=False)
    assert done.exit_code == 0
    each = pd.read_csv(tmp_path / "out/tables/against.csv")
    assert sorted(each["method"]) == 3 * ["ensemble"] + 3 * ["pnet pathnorm"]
    assert set(each["of"]) == {6}
    assert set(each["best published"]) == {"m0"}
    ensemble = json.loads((swept / "ensembles/wine/ensemble.json").read_text())
    ours = each.set_index(["data set", "method"])
    assert ours.loc[("wine", "ensemble"), "ours"] == pytest.approx(ensemble["loss"]["test"], rel=1e-5)
    times = [json.loads(path.read_text()) for path in swept.glob("*/run.json")]
    spent = sum(run["metrics"]["time/fit_s"] for run in times if run["task"]["name"] == "wine")
    assert list(ours.loc["wine", "seconds"]) == pytest.approx([spent, spent])
    ranks = pd.read_csv(tmp_path / "out/tables/against_ranks.csv")
    assert len(ranks) == 6
    page = (tmp_path / "out/report.md").read_text()
    assert "our test rows were drawn" in page
    for name in ("against_seconds", "against_ranks"):
        assert (tmp_path / f"out/figures/{name}.png").exists(), page
    points = pd.read_csv(tmp_path / "out/figures/against_seconds.csv").set_index("method")
    assert points.loc["m0", "on the front"]
    assert not points.loc["m3", "on the front"]


def test_two_files_are_two_comparisons(runs: Path, tmp_path: Path) -> None:
    """Their tables are told apart; a key of the fold without a file is refused."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        frame_of(seed=len(folder)).to_csv(tmp_path / folder / "published.csv", index=False)
    files = [part for folder in "ab" for part in ("--against", str(tmp_path / folder / "published.csv"))]
    arguments = [str(runs), "--no-attach", "--no-figures", "--out", str(tmp_path / "out")]
    assert CliRunner().invoke(report, [*arguments, *files], catch_exceptions=False).exit_code == 0
    assert "## Against published numbers (b/published.csv)" in (tmp_path / "out/report.md").read_text()
    assert (tmp_path / "out/tables/against_2.csv").exists()
    with pytest.raises(
        UsageError, match=r"--against-fold seed is for published numbers\. Give them, too: --against FILE"
    ):
        CliRunner().invoke(report, [*arguments, "--against-fold", "seed"], catch_exceptions=False)
