"""Races of a sweep: who leaves is recorded with the reason, what is done takes part, the rest is a sweep."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from psilon_bench.errors import RunFailed, UsageError
from psilon_bench.machine.signals import Stopped
from psilon_bench.metrics.network import num_parameters
from psilon_bench.records.run_json import read_run_json
from psilon_bench.report.metric import Metric
from psilon_bench.report.report import make
from psilon_bench.run.checks import prepare
from psilon_bench.sweep.memory import data_bytes, network_bytes, race_bytes
from psilon_bench.training import footprint
from psilon_bench.training.race import RacedTraining
from psilon_bench.training.step import TrainingStep

RACE = ("race=true", "trainer.epochs=8", "trainer.num_batches=2", "optimizer.lr=0.05", "metrics.lipschitz_points=1")
LAMS = ("1e-3", "2e-3", "30", "40")
JOBS = [[f"reg.lam={lam}", f"seed={seed}"] for lam in LAMS for seed in range(3)]
SERIAL = "hardware.plan=serial"


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def run_of(name: str) -> dict[tuple[float, int], dict[str, Any]]:
    """run.json of the last record of each run, with its folder, by lambda and seed."""
    found = {}
    for path in sorted(Path("results", name).glob("*/run.json"), key=lambda path: path.stat().st_mtime_ns):
        run = read_run_json(path).model_dump() | {"folder": path.parent}
        found[run["params"]["reg.lam"], run["seed"]] = run
    return found


def numbers(runs: Any) -> dict[Any, Any]:
    """How each run ended, and the comparison that it lost."""
    return {key: (run["status"], run["race"], run["metrics"].get("val/loss")) for key, run in runs.items()}


def history(run: Any) -> bytes:
    return (run["folder"] / "history.csv").read_bytes()


def test_a_race_ends_as_the_sweep_but_for_those_who_leave(grid: Any, capsys: Any) -> None:
    """One by one: histories and networks of the others to the last bit; who left has a reason and no network.

    The same race again has nothing to do; without the race who left trains to its end; then the race has all of them.
    """
    outcomes = grid(JOBS, *RACE, SERIAL, "name=race")
    said = capsys.readouterr().out
    raced = run_of("race")
    left = {key for key, run in raced.items() if run["status"] == "raced out"}
    assert {(lam, seed) for lam in (30.0, 40.0) for seed in range(3)} <= left < raced.keys()
    assert {run["status"] for run in outcomes.values()} == {"finished", "raced out"}
    assert f"{len(left)} of 12 runs were raced out" in said
    assert said.count("(raced out at epoch ") == len(left)
    grid(JOBS, *RACE, SERIAL, "name=race")
    assert "12 of 12 runs are done" in capsys.readouterr().out
    for key in left:
        run = raced[key]
        assert not list(run["folder"].glob("*.pt"))
        assert run["reason"].startswith(f"raced out at epoch {run['race']['epoch']}: its val/loss is ")
        assert run["race"]["p"] < 0.05
    grid(JOBS, *RACE, SERIAL, "name=race", "race=false")
    assert f"{12 - len(left)} of 12 runs are done" in capsys.readouterr().out
    grid(JOBS, *RACE, SERIAL, "name=whole", "race=false")
    whole, later = run_of("whole"), run_of("race")
    for key, run in whole.items():
        assert later[key]["status"] == run["status"] == "finished"
        assert history(later[key]) == history(run)
        own, other = (torch.load(one["folder"] / "model.pt") for one in (later[key], run))
        assert all(torch.equal(own[name], other[name]) for name in own)
        assert history(run).startswith(history(raced[key]))
    grid(JOBS, *RACE, SERIAL, "name=race")
    assert "12 of 12 runs are done" in capsys.readouterr().out


def test_a_race_for_three_keeps_the_third(grid: Any) -> None:
    """With race_keep=3 a lambda stays that leaves a race for the best, also where it has left an earlier one."""
    grid(JOBS, *RACE, "hardware.plan=stacked")
    assert {run["status"] for key, run in run_of("runs").items() if key[0] == 30} == {"raced out"}
    grid(JOBS, *RACE, "hardware.plan=stacked", "race_keep=3")
    best, second, third, worst = (
        {run["status"] for key, run in run_of("runs").items() if key[0] == float(lam)} for lam in LAMS
    )
    assert best == second == third == {"finished"}
    assert worst == {"raced out"}
    again = run_of("runs")
    grid(JOBS, *RACE, "hardware.plan=stacked", "race_keep=2")  # fewer are kept: all is done
    assert run_of("runs") == again


@pytest.mark.slow
def test_without_the_race_who_left_trains_to_its_end_in_other_processes_too(grid: Any) -> None:
    """They look into the records as well, and there who left counts as done for another race alone."""
    grid(JOBS, *RACE, "hardware.plan=stacked")
    assert any(run["status"] == "raced out" for run in run_of("runs").values())
    outcomes = grid(JOBS, *RACE, "hardware.plan=processes", "hardware.workers=2", "race=false")
    assert {run["status"] for run in outcomes.values()} == {"finished"}
    assert {run["status"] for run in run_of("runs").values()} == {"finished"}


@pytest.mark.slow
def test_what_is_done_takes_part(grid: Any) -> None:
    """Settings of an earlier sweep are compared by their histories, whoever left an earlier race too."""
    grid(JOBS, *RACE, SERIAL, "name=once")
    expected = numbers(run_of("once"))
    grid(JOBS[:3], *RACE, SERIAL, "race=false", "name=parts")
    grid(JOBS, *RACE, SERIAL, "name=parts")
    assert numbers(run_of("parts")) == expected
    for folder in (run["folder"] for key, run in run_of("parts").items() if key[1] == 1):
        folder.rename(Path("results", folder.name))  # one seed of each setting is lost
    grid(JOBS, *RACE, SERIAL, "name=parts")
    assert numbers(run_of("parts")) == expected


@pytest.mark.sampled(every=2)
@pytest.mark.parametrize(
    ("plan", "step"),
    [
        *[("serial", 21), ("stacked", 50)],
        *(pytest.param(*own, marks=pytest.mark.slow) for own in (("serial", 50), ("stacked", 21))),
    ],
)
def test_stopped_anywhere_it_ends_the_same(grid: Any, monkeypatch: Any, plan: Any, step: Any) -> None:
    """SIGTERM in the first heat, later, after a rung: the same command goes on, in the folders it had."""
    common = (*RACE, f"hardware.plan={plan}", "hardware.stack_size=7")
    take, count, at = TrainingStep.__call__, 0, step if plan == "serial" else step // 6 + 3

    def stops(self: Any, batch: Any, number: Any) -> Any:
        nonlocal count
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGTERM)
        return take(self, batch, number)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingStep, "__call__", stops)
        with pytest.raises(Stopped):
            grid(JOBS, *common)
    before = {run["folder"] for run in run_of("runs").values()}
    assert len(before) == 12
    grid(JOBS, *common)
    grid(JOBS, *common, "name=whole")
    runs, whole = run_of("runs"), run_of("whole")
    assert {run["folder"] for run in runs.values()} == before
    assert numbers(runs) == numbers(whole)
    assert all(history(runs[key]) == history(whole[key]) for key in runs)
    assert not list(Path("results/runs/.checkpoints").glob("*.json"))


@pytest.mark.sampled(every=2)
@pytest.mark.parametrize("stacked", [True, False])
def test_a_run_that_raises_is_found_and_the_others_race_on(grid: Any, monkeypatch: Any, stacked: Any) -> None:
    """Its heat is tried in halves, then it fails alone; nobody else is lost."""
    take = TrainingStep.__call__

    def faulty(self: Any, batch: Any, number: Any) -> Any:
        if 1e-3 in self.lams.tolist() and number == 5:
            raise ZeroDivisionError("it")
        return take(self, batch, number)

    monkeypatch.setattr(TrainingStep, "__call__", faulty)
    jobs = JOBS[2:]
    with pytest.raises(RunFailed, match="1 of 10 runs failed"):
        grid(jobs, *RACE, "hardware.stack_size=5" if stacked else SERIAL)
    status = {key: run["status"] for key, run in run_of("runs").items()}
    assert [key for key, ended in status.items() if ended == "failed"] == [(1e-3, 2)]
    assert set(status.values()) == {"failed", "finished", "raced out"}
    assert len(status) == len(list(Path("results/runs").glob("*/run.json"))) == 10


@pytest.mark.slow
def test_baselines_train_beside_a_race(psilon: Any, records: Any) -> None:
    """As ever, and finished; networks alone race."""
    arms = "hydra.sweeper.grids={net:{reg.lam:'1e-3,30',model.hidden:4,model.depth:2},base:{model:ridge,reg:none}}"
    code, said = psilon(
        "-m", arms, "seed=0,1", *RACE, "trainer.eval_every=2", "tracking=none", tiny=("hardware.device=cpu",)
    )
    assert code == 0, said
    assert [run["status"] for run in records() if run["title"].startswith("ridge")] == ["finished"] * 2
    assert len(records()) == 6


@pytest.mark.slow
def test_a_race_for_each_data_set(grid: Any, monkeypatch: Any, capsys: Any) -> None:
    """Networks of several widths race in heats of their own; a plan says so and starts nothing."""
    raced: list[list[str]] = []
    init = RacedTraining.__init__

    def noted(self: Any, members: Any, race: Any, build: Any) -> None:
        raced.append([members[place].task.name for place in range(len(members))])
        init(self, members, race, build)
        assert [len({self.entrants[p].config.structure() for p in heat.places}) for heat in self.heats] == [1, 1]

    monkeypatch.setattr(RacedTraining, "__init__", noted)
    jobs = [
        [f"dataset={data}", f"model.hidden={hidden}", f"reg.lam={lam}", f"seed={seed}"]
        for data in ("wine", "breast_cancer")
        for hidden in (3, 5)
        for lam in (1e-3, 50)
        for seed in (0, 1)
    ]
    grid(jobs, *RACE, "plan=true")
    out = capsys.readouterr().out
    assert out.count("raced in stacks of 4") == 4
    assert not Path("results").exists()
    outcomes = grid(jobs, *RACE)
    assert raced == [["wine"] * 8, ["breast_cancer"] * 8]
    assert len(outcomes) == 16


@pytest.mark.parametrize(
    ("jobs", "more", "message"),
    [
        (JOBS[:3], (), r"race=true compares settings, and dataset=breast_cancer has one alone \(pnet .* lam=0.001\)"),
        (JOBS[::3], (), r"over seeds, splits and folds, and dataset=breast_cancer has seed=0.* Give several"),
        (JOBS, ("trainer.eval_every=3",), r"25% of trainer.epochs=8 first, .* Set trainer.eval_every=2"),
        (JOBS, ("trainer.epochs=3",), r"no evaluation before. Set trainer.epochs=4 or more"),
        ([*JOBS, [*JOBS[0], "race=false"]], (), r"race is one for all runs of a sweep"),
    ],
)
def test_what_is_no_race_is_refused(grid: Any, jobs: Any, more: Any, message: Any) -> None:
    """One line before anything is written."""
    with pytest.raises(UsageError, match=message):
        grid(jobs, *RACE, *more)
    assert not Path("results").exists()


def test_a_single_run_is_no_race(psilon: Any) -> None:
    """Without -m there is nobody to race with."""
    code, said = psilon("race=true", "tracking=none")
    assert (code, said.count("\n")) == (2, 1)
    assert "race=true compares several runs, and this is one. Add -m" in said


def test_a_race_that_has_no_room_is_refused(grid: Any, monkeypatch: Any) -> None:
    """Its networks are in memory all at once."""
    monkeypatch.setattr("psilon_bench.machine.memory.free_bytes", lambda device: 150_000)
    with pytest.raises(UsageError, match=r"race=true keeps 12 networks at once, which takes about .* are free. Race"):
        grid(JOBS, *RACE)


def test_the_room_for_activations_is_that_of_the_heats_at_work(config: Any) -> None:
    """Of stacks so many as train side by side, of lone networks one, however many threads there are."""
    member = prepare(config("dataset=wine", "hardware.threads=3"))
    parameters = footprint.bytes_of(member.config, member.task, num_parameters(member.model), 0)
    activations, rows = network_bytes(member) - parameters, data_bytes(member)
    lone, stack = (member, [member.config]), (member, [member.config] * 2)
    assert race_bytes([lone] * 9) == 9 * (parameters + rows) + activations
    assert race_bytes([stack] * 9) == 9 * (2 * parameters + rows) + 6 * 2 * activations


def test_a_report_never_chooses_who_was_raced_out(grid: Any) -> None:
    """And says how many settings were, each with its comparison; a lambda that left is missed by nobody."""
    grid(JOBS, *RACE)
    left = {key[0] for key, run in run_of("runs").items() if run["status"] == "raced out"}
    report = make([Path("results/runs")], Metric("val/loss", "min"))
    (choice,) = report.choices
    assert choice.setting is not None
    assert choice.setting.value("reg.lam") not in left
    assert "seeds" not in {doubt.flag for doubt in choice.doubts}
    tables = {table.name: table for table in report.tables}
    assert f"pnet pathnorm on breast_cancer: {len(left)} of 4 settings raced out." in tables["summary"].note
    assert len(tables["raced_out"].rows) == len(left)
    assert "unfinished" not in tables
    assert json.dumps(tables["raced_out"].rows).count("raced out at epoch") == len(left)
