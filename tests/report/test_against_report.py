"""The command psilon-report --against: a real sweep, its ensembles, and several files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from composing import launched
from published_files import frame_of, write_runs
from sklearn.metrics import log_loss, roc_auc_score, root_mean_squared_error

from psilon_bench.cli.report import report
from psilon_bench.errors import UsageError
from psilon_bench.records import ensemble_json
from psilon_bench.report.ensemble_scores import ensemble_scores


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny sweep on three bundled data sets."""
    results = tmp_path_factory.mktemp("swept")
    tiny: tuple[str, ...] = (
        "model.hidden=4",
        "model.depth=2",
        "trainer.epochs=5",
        "trainer.eval_every=5",
        "optimizer.lr=0.05",
    )
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
    usual = [one for one in jobs[0] if not one.startswith(("model.", "reg.", "dataset=", "trainer.", "optimizer."))]
    jobs.append([*usual, "dataset=wine", "model=random_forest", "model.n_estimators=2", "reg=none"])
    launched(jobs)
    return results / "runs"


def test_an_ensemble_scores_as_scikit_learn_says(swept: Path) -> None:
    """Of one member its scores are those of the run; of two, scikit-learn's of the mean of their predictions."""
    for kind in ("regression", "binary", "multiclass"):
        every = {path: json.loads(path.read_text()) for path in sorted(swept.glob("*_pnet_*/run.json"))}
        runs = [path for path, run in every.items() if run["task"]["kind"] == kind]
        own = [every[path] for path in runs]
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
    """The whole command: ours, the ensemble and theirs in the tables; seconds are of all networks of a data set."""
    metrics = {"wine": "log_loss", "diabetes": "rmse", "breast_cancer": "roc_auc"}
    rows = [
        {"dataset": data, "fold": 0, "method": f"m{k}", "metric": m, "metric_error": 0.1 + k / 9, "time_train_s": k + 1}
        for data, m in metrics.items()
        for k in range(4)
    ]
    file = tmp_path / "published.csv"
    pd.DataFrame(rows).to_csv(file, index=False)
    arguments = [str(swept), "--ensemble", "--no-attach", "--no-figures", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(report, [*arguments, "--against", str(file)], catch_exceptions=False)
    assert done.exit_code == 0
    each = pd.read_csv(tmp_path / "out/tables/against.csv")
    assert sorted(each["method"]) == 3 * ["ensemble"] + 3 * ["pnet pathnorm"] + ["random_forest"]
    assert [int(count) for count in each["of"]] == [6, 6, 6, 6, 7, 7, 7]
    assert set(each["best published"]) == {"m0"}
    ensemble = json.loads((swept / "ensembles/wine/ensemble.json").read_text())
    ours = each.set_index(["data set", "method"])
    assert ours.loc[("wine", "ensemble"), "ours"] == pytest.approx(ensemble["loss"]["test"], rel=1e-5)
    times = [json.loads(path.read_text()) for path in swept.glob("*/run.json")]
    spent = sum(
        run["metrics"]["time/fit_s"] for run in times if run["task"]["name"] == "wine" and "pnet" in run["title"]
    )
    assert ours.loc[("wine", "ensemble"), "seconds"] == pytest.approx(spent)
    assert ours.loc[("wine", "pnet pathnorm"), "seconds"] == pytest.approx(spent)
    ranks = pd.read_csv(tmp_path / "out/tables/against_ranks.csv")
    assert len(ranks) == 6
    page = (tmp_path / "out/report.md").read_text()
    assert "our test rows were drawn" in page
    assert page.index("## Against published numbers") < page.index("## Ensembles")


def test_two_files_are_two_comparisons(tmp_path: Path) -> None:
    """Their tables are told apart; a key of the fold without a file is refused."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        frame_of(seed=len(folder)).to_csv(tmp_path / folder / "published.csv", index=False)
    files = [part for folder in "ab" for part in ("--against", str(tmp_path / folder / "published.csv"))]
    arguments = [str(write_runs(tmp_path / "runs")), "--no-attach", "--no-figures", "--out", str(tmp_path / "out")]
    assert CliRunner().invoke(report, [*arguments, *files], catch_exceptions=False).exit_code == 0
    assert "## Against published numbers (b/published.csv)" in (tmp_path / "out/report.md").read_text()
    assert (tmp_path / "out/tables/against_2.csv").exists()
    with pytest.raises(
        UsageError, match=r"--against-fold seed is for published numbers\. Give them, too: --against FILE"
    ):
        CliRunner().invoke(report, [*arguments, "--against-fold", "seed"], catch_exceptions=False)
