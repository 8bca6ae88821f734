"""Cross-validation: the choice is that of pooled out-of-fold predictions, refits are lone runs on all folds."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, root_mean_squared_error
from tiny_sweep import IN_PROCESS

from psilon_bench.errors import RunFailed, UsageError
from psilon_bench.records.studies import load_study
from psilon_bench.report.metric import Metric
from psilon_bench.report.report import make
from psilon_bench.training.step import TrainingStep

COMMON = ("cv=3", "optimizer.lr=0.03", "metrics.lipschitz_points=1", "trainer.num_batches=2")
LAMS = (30.0, 1e-3)
JOBS = [[f"reg.lam={lam}", f"seed={seed}"] for lam in LAMS for seed in range(2)]
SERIAL = "hardware.plan=serial"


@pytest.fixture
def refits(records: Any) -> Any:
    """refits("runs"): run.json of the finished refits by lambda and seed."""

    def refits(name: str = "runs") -> dict[tuple[float, int], dict[str, Any]]:
        runs = [run for run in again(records(name)) if run["status"] == "finished"]
        assert len({run["fingerprint"] for run in runs}) == len(runs)
        return {(run["params"]["reg.lam"], run["seed"]): run for run in runs}

    return refits


def again(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that train on all folds."""
    return [run for run in runs if run["params"]["dataset.fold"] == "all"]


def choice_of(name: str = "runs") -> Any:
    (choice,) = make([Path("results", name)], Metric("val/loss", "min")).choices
    return choice


def pooled_loss(runs: list[Any]) -> float:
    """Of lone runs, one for each fold: the loss of all their validation predictions together, by scikit-learn."""
    frames = [pd.read_parquet(run.folder / "predictions.parquet", filters=[("split", "==", "val")]) for run in runs]
    rows = pd.concat(frames, ignore_index=True)
    assert not rows["row"].duplicated().any()
    if runs[0].run["task"]["kind"] != "regression":
        likely = rows.filter(like="probability/").to_numpy(float)
        likely = likely / likely.sum(axis=1, keepdims=True)  # float32 has rounded them
        return float(log_loss(rows["target"].astype(str), likely, labels=runs[0].run["task"]["classes"]))
    scales = [run.run["task"]["target"]["scale"] for run in runs]
    unit = np.sqrt(np.average(np.square(scales), weights=list(map(len, frames))))
    return float(root_mean_squared_error(rows["target"], rows["prediction"]) / unit)


@pytest.mark.parametrize("dataset", ["diabetes", pytest.param("wine", marks=pytest.mark.slow)])
def test_choice_and_refits_are_those_of_a_slow_loop(
    grid: Any, finished: Any, refits: Any, capsys: Any, dataset: str
) -> None:
    """Each fold as a lone run, predictions pooled, means over seeds; then the best setting on all rows, alone."""
    alone = (*IN_PROCESS, *COMMON[1:], f"dataset={dataset}", "dataset.folds=3", "name=alone")
    means = {
        lam: np.mean(
            [
                pooled_loss(
                    [finished(*alone, f"reg.lam={lam}", f"seed={seed}", f"dataset.fold={fold}") for fold in range(3)]
                )
                for seed in range(2)
            ]
        )
        for lam in LAMS
    }
    best = min(means, key=lambda lam: means[lam])
    assert best == 1e-3  # not the first of them
    grid(JOBS, *COMMON, f"dataset={dataset}")
    assert refits().keys() == {(best, 0), (best, 1)}
    choice = choice_of()
    assert choice.setting.value("reg.lam") == best
    assert choice.validation.mean == pytest.approx(means[best], rel=1e-10 if dataset == "diabetes" else 1e-6)
    assert choice.validation.n == 6
    tests = []
    for seed in range(2):
        run = finished(*alone, f"reg.lam={best}", f"seed={seed}", "dataset.fold=all").run
        assert run["fingerprint"] == refits()[best, seed]["fingerprint"]
        tests.append(run["metrics"]["test/loss"])
        assert run["task"]["rows"]["val"] == 0
    assert choice.setting.numbers("test/loss") == pytest.approx(tests, rel=1e-10)
    assert choice.doubts[0].flag == "edge"
    assert f"lam=0.001 on {dataset}" in capsys.readouterr().out.replace("\n", "")


@pytest.mark.slow
def test_a_fold_that_failed_makes_no_candidate(grid: Any, refits: Any, monkeypatch: Any, capsys: Any) -> None:
    """The other setting is trained again; once the fold is there, the better one is, and nothing else."""
    failed: list[int] = []
    take = TrainingStep.__call__

    def faulty(self: Any, batch: Any, number: Any) -> Any:
        if 1e-3 in self.lams.tolist() and not failed:
            failed.append(number)
            raise ZeroDivisionError("it")
        return take(self, batch, number)

    monkeypatch.setattr(TrainingStep, "__call__", faulty)
    with pytest.raises(RunFailed, match="1 of 14 runs failed"):
        grid(JOBS, *COMMON, SERIAL)
    assert "no candidate (failed)" in capsys.readouterr().out
    assert refits().keys() == {(30.0, 0), (30.0, 1)}
    report = choice_of()
    assert report.setting.value("reg.lam") == 30
    grid(JOBS, *COMMON, SERIAL)
    assert refits().keys() == {(lam, seed) for lam in LAMS for seed in range(2)}
    assert choice_of().setting.value("reg.lam") == 1e-3
    grid(JOBS, *COMMON, SERIAL)
    assert "2 of 2 runs are done" in capsys.readouterr().out


def test_the_folds_of_another_number_share_the_refits(grid: Any, records: Any) -> None:
    """cv=2 finds the refit of cv=3 done, and a report shows it with both."""
    for count in (3, 2):
        grid([["reg.lam=1e-3"]], *COMMON, f"cv={count}")
    assert len(again(records())) == 1
    choices = make([Path("results/runs")], Metric("val/loss", "min")).choices
    assert [choice.group.dataset for choice in choices] == ["breast_cancer folds=2", "breast_cancer folds=3"]
    assert [len(choice.setting.tested) for choice in choices if choice.setting] == [1, 1]


def test_a_setting_that_is_asked_for_twice_has_each_fold_once(grid: Any, capsys: Any, monkeypatch: Any) -> None:
    """Arms of a preset are alike where the command line sets what they differ in; the order of a job is no matter."""
    monkeypatch.setenv("COLUMNS", "200")
    jobs = [["reg.lam=30.", "seed=0"], ["seed=0", "reg.lam=30"], ["reg.lam=1e-3", "seed=0"], ["seed=0", "reg.lam=.001"]]
    grid(jobs[::2], *COMMON, SERIAL, "plan=true")
    once = capsys.readouterr().out
    grid(jobs, *COMMON, SERIAL, "plan=true")
    assert capsys.readouterr().out.splitlines()[-1] == once.splitlines()[-1]
    grid(jobs[::2], *COMMON, SERIAL, "name=once")
    table = capsys.readouterr().out
    grid(jobs, *COMMON, SERIAL, "name=twice")
    assert folds_and_errors(capsys.readouterr().out) == folds_and_errors(table) != []


def folds_and_errors(said: str) -> list[list[str]]:
    """The cells of loss, error and folds of the table of candidates."""
    rows = [[cell.strip() for cell in line.split("│")] for line in said.splitlines() if " on breast_cancer" in line]
    return [row[2:5] for row in rows if len(row) > 5]


@pytest.mark.sampled(every=2)
@pytest.mark.parametrize(("common", "told"), [((), True), (("dataset.split_seed=0",), False)])
def test_one_choice_for_several_test_sets_is_told(grid: Any, capsys: Any, common: Any, told: bool) -> None:
    """The rows that test one network have validated others."""
    grid([["seed=0"], ["seed=1"]], *COMMON, "cv=2", *common)
    assert ("The runs have several test sets" in capsys.readouterr().out) == told


def test_of_equal_settings_the_largest_lambda_is_chosen(grid: Any, refits: Any) -> None:
    """As a report does: with reg=none lambda is a word."""
    grid([["reg=none", f"reg.lam={lam}"] for lam in (1, 2, 0)], *COMMON)
    assert refits().keys() == {(2.0, 0)}
    assert choice_of().setting.value("reg.lam") == 2


def test_who_was_raced_out_is_no_candidate(grid: Any, refits: Any, capsys: Any) -> None:
    """Settings race over seeds and folds; the refits train beside it."""
    grid(JOBS, *COMMON, "race=true", "trainer.epochs=8", "optimizer.lr=0.05")
    assert "no candidate (raced out)" in capsys.readouterr().out
    assert refits().keys() == {(1e-3, 0), (1e-3, 1)}


@pytest.mark.slow
def test_a_plan_and_more_refits(grid: Any, records: Any, capsys: Any) -> None:
    """A plan shows folds and refits and writes nothing; cv_refit trains so many again; a data set each has a choice."""
    jobs = [[*job, f"dataset={name}"] for name in ("wine", "diabetes") for job in JOBS[::2]]
    grid(jobs, *COMMON, "plan=true")
    told = capsys.readouterr().out
    assert "0 of 12 runs are done" in told
    assert "the best setting of each data set train again on all rows but those of the test" in told
    assert "2 runs at most" in told
    assert not Path("results").exists()
    grid(jobs, *COMMON)
    assert sorted(run["task"]["name"] for run in again(records())) == ["diabetes", "wine"]
    grid(jobs, *COMMON, "cv_refit=2")
    assert len(again(records())) == 4
    assert len(records()) == 16


@pytest.mark.sampled(every=3)
@pytest.mark.parametrize(
    ("job", "message"),
    [
        (["cv=1"], r"cv=1 is not valid: it should be greater than or equal to 2"),
        (["cv=0"], r"cv=0 is not valid"),
        (
            ["dataset.fold=0"],
            r"cv=3 trains on each fold in turn, and dataset\.fold=0 is set beside it. Leave that out, or set cv=null",
        ),
        (["dataset.folds=5", "dataset.fold=1"], r"and dataset\.folds=5 is set beside it"),
        (["model=pnett"], r"model=pnett is not an option of the group model\. .* In the run: .* No run was started"),
        (["dataset=toy2d"], r"cv=3 cuts the rows of a table into folds, and dataset=toy2d is none that can be cut"),
        (["dataset=mnist"], r"and dataset=mnist is none"),
        (
            ["dataset=table", "dataset.order_by=day"],
            r"cv=3 cuts rows .* and dataset\.order_by=day trains on",
        ),
        (["dataset.val_size=0.3"], r"dataset\.val_size=0.3 has no effect beside dataset\.folds=3"),
        (["cv_refit=0"], r"cv_refit=0 is not valid"),
        (
            ["trainer.select=best"],
            r"trainer\.select=best needs validation rows, and dataset\.fold=all leaves none\. Set",
        ),
        (["trainer.early_stopping=2"], r"trainer\.early_stopping=2 needs validation rows"),
        (
            ["metrics.calibrate=temperature"],
            r"metrics\.calibrate=temperature is fitted to validation rows, and",
        ),
        (["metrics.coverage=0.9"], r"metrics\.coverage=0.9 needs 9 validation rows or more, and dataset\.fold=all lea"),
    ],
)
def test_what_cannot_be_is_refused(grid: Any, job: list[str], message: str) -> None:
    """One line before anything is written."""
    with pytest.raises(UsageError, match=message) as raised:
        grid([job], *COMMON)
    assert "\n" not in str(raised.value)
    assert not Path("results").exists()


def test_a_sweep_ends_with_an_ensemble(psilon: Any) -> None:
    """Of each data set, shown with where it is; a sweep of one network is refused before it starts."""
    common = (
        *IN_PROCESS,
        *COMMON,
        "dataset=wine,diabetes",
        "ensemble=true",
        "cv=2",
        "dataset.split_seed=0",
    )
    code, said = psilon("-m", *common, "reg.lam=1e-3,1e-2")
    assert code == 0, said
    made = [path.parent.name for path in Path("results/runs/ensembles").glob("*/ensemble.json")]
    assert sorted(made) == ["diabetes", "wine"]
    assert psilon("-m", *IN_PROCESS, "ensemble=true", "name=one")[1] == (
        "psilon-run: ensemble=true chooses among networks, and the sweep has none or one. Add reg.lam=1e-4,1e-3.\n"
    )
    assert psilon(*IN_PROCESS, "ensemble=true", "name=one")[1] == (
        "psilon-run: ensemble=true chooses among several networks, and this is one run. Add -m and values.\n"
    )
    assert not Path("results/one").exists()


def test_a_single_run_is_no_cross_validation(psilon: Any) -> None:
    """Without -m there is one run."""
    assert psilon("cv=5", "tracking=none") == (
        2,
        "psilon-run: cv=5 trains several runs, and this is one. Add -m, or leave it out.\n",
    )


@pytest.mark.slow
@pytest.mark.unchecked_shapes
def test_killed_it_goes_on(grid: Any, start: Any, records: Any) -> None:
    """SIGKILL among the folds, then in the refit: the same command ends as one that was not killed, nothing twice."""
    slower = (*COMMON, SERIAL, "trainer.epochs=150", "trainer.eval_every=50", "hardware.threads=1")
    kept: set[Path] = set()
    for in_refit in (False, True):
        process = start("-m", *slower, f"reg.lam={','.join(map(str, LAMS))}", tiny=IN_PROCESS)
        while not is_there(records(), in_refit):
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        done = {run["folder"] for run in records() if run["status"] == "finished"}
        assert kept <= done
        assert (len(done) == 6) == in_refit
        kept = done
    for name in ("runs", "once"):
        grid([[f"reg.lam={lam}"] for lam in LAMS], *slower, f"name={name}")
    ended, once = (
        {run["fingerprint"]: run["metrics"]["test/loss"] for run in records(name) if run["status"] == "finished"}
        for name in ("runs", "once")
    )
    assert ended == once
    finished = [run["folder"] for run in records() if run["status"] == "finished"]
    assert len(finished) == len(once) == 7
    assert kept <= set(finished)


def is_there(runs: list[dict[str, Any]], in_refit: bool) -> bool:
    """Whether the moment to kill has come: two folds are done, or a refit has begun."""
    if in_refit:
        return any(run["params"]["dataset.fold"] == "all" for run in runs)
    return sum(run["status"] == "finished" for run in runs) > 1


@pytest.mark.slow
def test_a_search_on_folds(psilon: Any, records: Any) -> None:
    """The value of a trial is its out-of-fold loss, and the best trial is trained again."""
    sizes = ("hydra.sweeper.n_trials=3", "hydra.sweeper.batch_size=3", "hydra.sweeper.sampler=random")
    space = ("reg.lam=interval(0,40)", "seed=0,1", "hydra.sweeper.average=[seed]", "dataset=diabetes")
    code, said = psilon("-m", "hydra/sweeper=optuna", *sizes, *space, *COMMON, tiny=IN_PROCESS)
    assert code == 0, said
    study = load_study(Path("results/runs"))
    assert study is not None
    by_lam: dict[float, list[Any]] = {}
    for run in records():
        if run["params"]["dataset.fold"] != "all":
            by_lam.setdefault(run["params"]["reg.lam"], []).append(run)
    for trial in study.get_trials():
        own = by_lam[trial.params["reg.lam"]]
        assert len(own) == 6
        losses = []
        for seed in range(2):
            weights = [r["task"]["rows"]["val"] * r["task"]["target"]["scale"] ** 2 for r in own if r["seed"] == seed]
            squares = [r["metrics"]["val/loss"] ** 2 for r in own if r["seed"] == seed]
            losses.append(np.sqrt(np.average(squares, weights=weights)))
        assert trial.value == pytest.approx(np.mean(losses), rel=1e-12)
    refitted = again(records())
    assert {run["params"]["reg.lam"] for run in refitted} == {study.best_trial.params["reg.lam"]}
    assert len(refitted) == 2
    two = "hydra.sweeper.objectives={val/loss: minimize, num_nonzero: minimize}"
    code, said = psilon("-m", "hydra/sweeper=optuna", *space, *COMMON, two, tiny=IN_PROCESS)
    assert (code, said.count("\n")) == (2, 1)
    assert "cv=3 trains the best trial again on all folds, and 2 objectives have none" in said


@pytest.mark.slow
def test_a_report_says_what_has_no_refit(grid: Any) -> None:
    """A method of which no setting is the best of the data set has no test numbers, and never those of folds."""
    jobs = [[*job, f"model={model}"] for job in (["model.hidden=4"], ["model.hidden=2"]) for model in ("pnet", "mlp")]
    grid([[*job, "reg=l2"] if "model=mlp" in job else job for job in jobs], *COMMON)
    report = make([Path("results/runs")], Metric("val/loss", "min"))
    with_test = [choice for choice in report.choices if choice.setting and choice.setting.numbers("test/loss")]
    assert [len(choice.setting.tested) for choice in with_test if choice.setting] == [1]
    (other,) = [choice for choice in report.choices if choice not in with_test]
    assert "no refit" in [doubt.flag for doubt in other.doubts]
    assert other.setting is not None
    assert len(other.setting.runs) == 3
    (summary,) = [table for table in report.tables if table.name == "summary"]
    assert json.dumps([row[3] for row in summary.rows]).count("0") == 1
