"""Searches: batches train as grids do, values are those of the records, nothing trains twice."""

import json
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.trial import TrialState

from psilon_bench.config.conf_folder import CONF
from psilon_bench.errors import RunFailed, UsageError
from psilon_bench.machine.signals import Stopped
from psilon_bench.records.places import study_journal
from psilon_bench.records.studies import load_study
from psilon_bench.sweep.adaptive import search
from psilon_bench.training.trainer import Trainer

TINY = (
    *("model.hidden=4", "model.depth=2", "trainer.epochs=2", "trainer.eval_every=1", "trainer.num_batches=2"),
    *("hardware.threads=1", "hardware.device=cpu", "hardware.plan=serial", "hardware.precision=float64"),
    *("metrics.lipschitz_points=2", "tracking=none"),
)
LAM = "reg.lam=tag(log,interval(1e-5,1e-1))"
PLAIN = {"sampler": "tpe", "seed": 0, "objectives": None, "average": [], "params": None, "conditions": None}


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """searched(4, 2, "reg.lam=0.1,0.2", sampler="random"): the best of four trials in batches of two."""
    monkeypatch.setenv("COLUMNS", "200")

    def searched(n_trials: int, batch_size: int, *arguments: str, **settings: Any) -> list[Any]:
        GlobalHydra.instance().clear()
        with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
            composing, parse = partial(compose, "config", return_hydra_config=True), OverridesParser.create()
            asked = PLAIN | {"n_trials": n_trials, "batch_size": batch_size} | settings
            return search(asked, [*TINY, *arguments], parse.parse_overrides, composing, None)

    return searched


def trials(name: str = "runs") -> list[Any]:
    study = load_study(Path("results", name))
    assert study is not None
    return study.get_trials()


@pytest.mark.slow
def test_a_search_and_its_going_on(searched: Any, records: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Two batches of two, then one trial more; values are the means over seeds of what the runs record."""
    keys = (LAM, "seed=0,1", "hardware.plan=stacked")
    searched(4, 2, *keys, average=["seed"])
    assert capsys.readouterr().out.count("0 of 4 runs are done in results/runs, 4 to do.") == 2
    (best,) = searched(5, 2, *keys, average=["seed"])
    runs = records()
    assert len(runs) == 10
    for trial in trials():
        own = [run for run in runs if run["params"]["reg.lam"] == trial.params["reg.lam"]]
        assert {run["seed"] for run in own} == {0, 1}
        assert trial.values == [pytest.approx(sum(run["metrics"]["val/loss"] for run in own) / 2)]
        assert {run["folder"].name for run in own} == set(trial.user_attrs["runs"])
    assert best.values == min(trial.values for trial in trials())
    said = f"trial {best.number}: reg.lam={best.params['reg.lam']:.4g}"
    assert f"5 of 5 trials; best val/loss {best.values[0]:.4g} in {said}" in capsys.readouterr().out
    with pytest.raises(UsageError, match=r"holds a search that differs in its settings: optimizer\.eps is 1e-08 there"):
        searched(6, 2, *keys, "optimizer.eps=1e-7", average=["seed"])


def test_several_objectives_and_conditions(searched: Any, records: Any) -> None:
    """The Pareto front; a key that is searched under a condition has its default in the other runs."""
    keys = ("model=pnet,mlp", "reg=none", "model.depth=1,2")
    goals = {"val/accuracy": "maximize", "num_nonzero": "minimize"}
    front = searched(6, 6, *keys, objectives=goals, conditions={"model.depth": "model=mlp"})
    depths = {
        name: {r["params"]["model.depth"] for r in records() if r["params"]["model.name"] == name}
        for name in keys[0][6:].split(",")
    }
    assert depths["pnet"] == {3}
    assert depths["mlp"] <= {1, 2}
    for trial in trials():
        (run,) = [run for run in records() if [run["folder"].name] == trial.user_attrs["runs"]]
        assert trial.values == [run["metrics"]["val/accuracy"], run["metrics"]["num_nonzero"]]
        beaten = any(
            o.values[0] >= trial.values[0] and o.values[1] <= trial.values[1] and o.values != trial.values
            for o in trials()
        )
        assert beaten != (trial.number in [one.number for one in front])


def test_a_run_that_diverges_fails_its_trial(searched: Any) -> None:
    """For good, and the others have values; the same search again ends the same way and writes nothing."""
    keys = ("optimizer=sgd", "optimizer.lr=1e-3,1e300", "model=mlp", "reg=l2", "scheduler=constant")
    with pytest.raises(
        RunFailed, match=r"^\d of 6 trials failed, such as trial \d: diverged.* went on without them\.$"
    ):
        searched(6, 3, *keys, sampler="random")
    assert {(trial.params["optimizer.lr"], trial.state) for trial in trials()} == {
        ("0.001", TrialState.COMPLETE),
        ("1e+300", TrialState.FAIL),
    }
    before = study_journal(Path("results/runs")).read_bytes()
    with pytest.raises(RunFailed, match="trials failed"):
        searched(6, 3, *keys, sampler="random")
    assert study_journal(Path("results/runs")).read_bytes() == before


def test_values_that_do_not_go_together(searched: Any) -> None:
    """The extremes alone are checked before: a combination that cannot be is a trial without a value."""
    with pytest.raises(RunFailed, match=r"trials failed.* Set scheduler\.total_steps=40\. The search went on"):
        searched(5, 5, "trainer.epochs=2,40", "scheduler.total_steps=40,5", sampler="random", seed=1)
    told = {
        (t.params["trainer.epochs"], t.params["scheduler.total_steps"]): t.user_attrs.get("reason") for t in trials()
    }
    wrong = told.pop(("40", "5"))
    assert wrong == "scheduler.total_steps=5 is less than the run's 40 epochs. Set scheduler.total_steps=40."
    assert set(told.values()) == {None}


def test_a_plan(searched: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The space, the batches, the first batch; nothing is written."""
    assert searched(20, 4, LAM, "plan=true") == []
    text = capsys.readouterr().out
    assert "│ reg.lam  │ tag(log,interval(1e-5,1e-1)) │" in text
    assert "20 trials in batches of 4, to minimize val/loss; 0 are done. The next batch:" in text
    assert "0 of 4 runs are done" in text
    assert "nothing was started" in text
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("arguments", "settings", "line"),
    [
        ([LAM], {"objectives": {"val/los": "minimize"}}, r"val/los is not recorded of pnet on breast_cancer\. Did you"),
        (["model=mlp,pnet", "reg=none"], {"objectives": {"path_norms": "minimize"}}, r"Did you mean path_norm"),
        ([LAM, "dataset.folds=3", "dataset.fold=all"], {}, r"val/loss is not recorded of pnet on breast_cancer\."),
        ([LAM, "optimizer.lrr=interval(0,1)"], {}, r"^optimizer\.lrr is not a known key\. Did you mean optimizer\.lr"),
        (["optimizer.lr=interval(-1,1)"], {}, r"^optimizer\.lr=-1\.0 is not valid: .* No run was started\.$"),
        ([LAM, "rerun=true"], {}, r"^rerun=true is for grids: a search goes on\."),
        ([LAM, "retries=1,2"], {}, r"^retries is one for all runs of a sweep\."),
    ],
)
def test_what_is_wrong_is_told_before_the_first_run(
    searched: Any, arguments: list[str], settings: dict[str, Any], line: str
) -> None:
    """One line, nothing written."""
    with pytest.raises(UsageError, match=line):
        searched(4, 2, *arguments, **settings)
    assert not Path("results").exists()


def test_ctrl_c_and_the_same_again(searched: Any, records: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search stops as a grid does, and goes on with the runs and the trials it was stopped at."""
    train, left = Trainer.train_epoch, [5]

    def stopping(self: Trainer, safe_point: Callable[[], None]) -> None:
        left[0] -= 1
        if not left[0]:
            signal.raise_signal(signal.SIGINT)
        train(self, safe_point)

    monkeypatch.setattr(Trainer, "train_epoch", stopping)
    with pytest.raises(Stopped):
        searched(4, 2, LAM)
    assert [trial.state.name for trial in trials()] == ["COMPLETE"] * 2 + ["RUNNING"] * 2
    assert "killed" in [run["status"] for run in records()]
    searched(4, 2, LAM)
    assert [trial.state.name for trial in trials()] == ["COMPLETE"] * 4
    assert [run["status"] for run in records()] == ["finished"] * 4


SLOWER = ("trainer.epochs=60", "trainer.eval_every=30")


@pytest.mark.slow
@pytest.mark.unchecked_shapes
def test_killed_and_gone_on_with(start: Any, searched: Any, records: Any) -> None:
    """SIGKILL in the second batch, with a run of it finished: the same command ends the search.

    n_trials trials have values, those of a search that never stopped; what was finished is not trained again.
    """
    sizes = ("hydra.sweeper.n_trials=4", "hydra.sweeper.batch_size=2")
    process = start("-m", "hydra/sweeper=optuna", *sizes, *SLOWER, LAM, tiny=TINY)
    while sum(run["status"] == "finished" for run in records()) < 3:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.03)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert [trial.state.name for trial in trials()] == ["COMPLETE"] * 2 + ["RUNNING"] * 2
    before = {run["folder"]: run["times"] for run in records() if run["status"] == "finished"}
    searched(4, 2, *SLOWER, LAM)
    finished = [run for run in records() if run["status"] == "finished"]
    assert len(finished) == len({run["fingerprint"] for run in finished}) == 4
    assert before == {run["folder"]: run["times"] for run in finished if run["folder"] in before}
    searched(4, 2, *SLOWER, LAM, "name=once")
    assert [(one.state, one.params, one.values) for one in trials()] == [
        (TrialState.COMPLETE, one.params, one.values) for one in trials("once")
    ]


def test_what_the_command_line_alone_can_get_wrong(psilon: Any, tmp_path: Path) -> None:
    """Another launcher, no Optuna: one line."""
    code, text = psilon("-m", "hydra/sweeper=optuna", "hydra/launcher=basic", LAM, tiny=TINY)
    assert (code, text.count("\n")) == (2, 1)
    assert "hydra/sweeper=optuna trains in stacks. Set hydra.launcher.inner" in text
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['optuna'] = None")
    told = psilon("-m", "hydra/sweeper=optuna", LAM, "hydra.launcher.inner=null", tiny=TINY)  # in a new process
    assert told == (2, "psilon-run: hydra/sweeper=optuna needs Optuna. Do: pip install 'psilon-bench[optuna]'.\n")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")  # in MLflow itself
def test_all_batches_are_one_sweep_in_mlflow(psilon: Any, records: Any, tmp_path: Path) -> None:
    """One parent, and every run below it is there whole; by another launcher, too."""
    sizes = ("-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=4", "hydra.sweeper.batch_size=2", LAM)
    for name, more in (("here", ()), ("there", ("hydra.launcher.inner=joblib", "hydra.launcher.options.n_jobs=2"))):
        code, text = psilon(*sizes, "tracking=mlflow", f"name={name}", *more, tiny=TINY)
        assert code == 0, text
        states = [json.loads((run["folder"] / "mlflow.json").read_text()) for run in records(name)]
        assert len(states) == 4
        assert all(state["done"] for state in states)
        assert (tmp_path / "results" / name / ".mlflow-parent.json").exists()
