"""Sweeps in this process: what is done is skipped, what fails is named, the rest ends; members equal lone runs."""

import json
from pathlib import Path
from typing import Any

import pytest
from runs_by_seed import folders, seeds, text
from tiny_sweep import IN_PROCESS

from psilon_bench.errors import UsageError
from psilon_bench.records.history import read_rows
from psilon_bench.records.run_json import read_run


def test_members_equal_lone_runs(psilon: Any, records: Any, grid: Any) -> None:
    """Through the command line: every row, to 1e-12; stacks of three where lambdas, seeds and splits differ."""
    jobs = [["reg.lam=1e-3", "seed=0"], ["reg.lam=0.3", "seed=0"], ["reg.lam=1e-3", "seed=5"]]
    outcomes = grid(jobs, "name=stack", "trainer.epochs=12")
    tiny = tuple(value for value in IN_PROCESS if "plan" not in value)
    code, said = psilon("name=alone", *jobs[1], tiny=(*tiny, "trainer.epochs=12"))
    assert code == 0, said
    (alone,) = records("alone")
    member = outcomes[alone["identity"]]
    rows, own = read_rows(alone["folder"] / "history.csv"), read_rows(Path(member["folder"]) / "history.csv")
    assert len(rows) == len(own) == 6
    for left, right in zip(rows, own, strict=True):
        assert left == pytest.approx(right, rel=1e-12)
    timeless = {key: value for key, value in alone["metrics"].items() if not key.startswith("time/")}
    assert {key: member["metrics"][key] for key in timeless} == pytest.approx(timeless, rel=1e-12)


def test_skipped_extended_forced(grid: Any, trained: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """What is done is not trained again; a larger grid trains what is new; rerun=true trains all."""
    grid(seeds(3))
    assert trained == [[0, 1, 2]]
    grid(seeds(3), "hardware.plan=serial", "retries=1")  # neither belongs to the numbers
    assert "3 of 3 runs are done in results/runs, nothing is left to do" in capsys.readouterr().out
    assert len(grid(seeds(5))) == 5
    assert trained == [[0, 1, 2], [3, 4]]
    assert len(folders()) == 5
    grid(seeds(2), "rerun=true")
    assert trained[2:] == [[0, 1]]
    assert len(folders()) == 7
    grid(seeds(3), "trainer.epochs=6")
    assert trained[3:] == [[0, 1, 2]]


def test_a_plan_starts_nothing(grid: Any, trained: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Runs, groups, sizes, estimate; what is done is left out."""
    jobs = [*seeds(5), ["model=snet", "seed=0"], ["model=snet", "seed=1", "model.depth=1"]]
    grid(jobs, "plan=true", "hardware.stack_size=2")
    out = capsys.readouterr().out
    assert "0 of 7 runs are done" in out
    assert "nothing was started" in out
    groups = [line.split("│")[2:4] for line in out.splitlines() if " on breast_cancer" in line]
    ways = [("5", "in stacks of 2"), ("1", "one by one"), ("1", "one by one")]
    assert [tuple(cell.strip() for cell in row) for row in groups] == ways
    assert trained == []
    assert not Path("results").exists()
    grid(seeds(2))
    grid(jobs, "plan=true")
    assert "2 of 7 runs are done" in capsys.readouterr().out


def test_a_plan_names_the_data_and_what_a_group_shares(grid: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Not `table` twice; of a stack's titles what all its members have."""
    rows = "x,y,label\n" + "".join(f"{i % 7},{i % 5},{'ab'[i % 2]}\n" for i in range(60))
    for name in ("first", "second"):
        Path(f"{name}.csv").write_text(rows.replace("x", name), encoding="utf-8")
    jobs = [[f"dataset.path={name}.csv", f"reg.lam={lam}"] for name in ("first", "second") for lam in (0.1, 0.2)]
    jobs.append(["dataset.path=first.csv", "model.hidden=3", "seed=7"])
    grid(jobs, "dataset=table", "dataset.target=label", "plan=true")
    out = capsys.readouterr().out
    shown = [line.split("│")[1:3] for line in out.splitlines() if "│ pnet" in line]
    assert [[cell.strip() for cell in row] for row in shown] == [
        ["pnet pathnorm seed=0 on first", "2"],
        ["pnet pathnorm seed=0 on second", "2"],
        ["pnet pathnorm lam=0.001 seed=7 model.hidden=3 on first", "1"],
    ]


@pytest.mark.slow
def test_groups_differ_in_values_alone(grid: Any, trained: Any) -> None:
    """Seeds, lambdas and splits share a stack; anything else does not; stacks are no larger than asked for."""
    jobs = [["reg.lam=1e-3", "seed=0"], ["reg.lam=1e-2", "seed=1"], ["dataset.split_seed=9", "seed=2"]]
    jobs += [["model.hidden=5", "seed=3"], ["optimizer.lr=1e-2", "seed=4"], ["model=snet", "seed=5"]]
    grid(jobs, "scheduler=constant")
    assert trained == [[0, 1, 2], [3], [4], [5]]
    grid(seeds(5), "name=small", "hardware.stack_size=2")
    assert trained[4:] == [[0, 1], [2, 3], [4]]
    grid(seeds(3), "name=one", "hardware.plan=serial")
    assert trained[7:] == [[0], [1], [2]]


def test_titles_tell_the_runs_of_a_sweep_apart(grid: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """What differs within it beyond network, regularizer, lambda and seed; no part of the fingerprint."""
    outcomes = grid([["seed=1", "optimizer.lr=0.1"], ["reg.lam=0.5", "optimizer.lr=0.2"], ["model.hidden=5"]])
    assert [run["title"] for run in outcomes.values()] == [
        "pnet pathnorm lam=0.001 seed=1 optimizer.lr=0.1",
        "pnet pathnorm lam=0.5 seed=0 optimizer.lr=0.2",
        "pnet pathnorm lam=0.001 seed=0 model.hidden=5",
    ]
    grid([["optimizer.lr=0.1", "seed=1"]])
    assert "1 of 1 runs are done" in capsys.readouterr().out


@pytest.mark.parametrize("key", ["name=a", "results_dir=a", "retries=1", "tracking.experiment=a"])
def test_a_sweep_has_one_place(grid: Any, key: Any) -> None:
    """What belongs to the sweep as a whole is no axis of it."""
    with pytest.raises(UsageError, match=rf"{key.partition('=')[0].split('.')[0]} is one for all runs of a sweep"):
        grid([["seed=0"], ["seed=1", key]])
    assert not Path("results").exists()


def test_one_diverges_and_one_raises(psilon: Any, records: Any, tmp_path: Path) -> None:
    """Of 6: 4 finish, the two are named with reason and folder, the traceback is in it; then only that one again."""
    (tmp_path / "faulty.py").write_text(
        "import torch\n"
        "from psilon_bench.models.mlp import MLP\n"
        "class Faulty(MLP):\n"
        "    def __init__(self, **everything) -> None:\n"
        "        super().__init__(**everything)\n"
        "        self.seed = torch.initial_seed()\n"
        "        if self.seed == 2:\n"
        "            self.layers[0].bias.data.fill_(float('nan'))\n"
        "    def forward(self, x):\n"
        "        if self.seed == 3 and torch.is_grad_enabled():\n"
        "            raise ZeroDivisionError('three')\n"
        "        return super().forward(x)\n"
    )
    own = ("model._target_=faulty.Faulty", "model.name=faulty", "hardware.plan=serial", "tracking=none")
    few = ("trainer.epochs=4", "trainer.eval_every=2", "hardware.threads=1")
    code, said = psilon("-m", "seed=range(6)", *own, tiny=few)
    assert code == 1, said
    status = {run["seed"]: run["status"] for run in records()}
    assert status == {seed: "failed" if seed in (2, 3) else "finished" for seed in range(6)}, said
    assert "2 of 6 runs failed" in said
    two, three = sorted((run for run in records() if run["status"] == "failed"), key=lambda run: run["seed"])
    assert "diverged" in two["reason"]
    assert "step 1" in two["reason"]
    assert three["reason"] == "ZeroDivisionError: three"
    assert "raise ZeroDivisionError('three')" in (three["folder"] / "error.txt").read_text()
    assert f"failed: faulty pathnorm lam=0.001 seed=3: ZeroDivisionError: three; see {three['folder']}" in said
    table = said[said.index("failed run") :]
    assert all(f"lam=0.001 seed={seed}" in table for seed in (2, 3))
    assert "diverged" in table
    assert two["folder"].name in table
    code, said = psilon("-m", "seed=range(6)", *own, tiny=few)
    assert code == 1
    assert "5 of 6 runs are done" in said


def test_damaged_records_are_left_out_and_counted(grid: Any, trained: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A run.json of any other shape counts as missing, is left as it is, and is said in one line; its run trains."""
    grid(seeds(2))
    whole = json.loads(text(folders()[0], "run.json"))
    shapes: list[str | bytes] = ["{", "[]", "{}", "null", '"finished"', b"\xff\x00"]
    shapes += [json.dumps({key: value for key, value in whole.items() if key != left}) for left in ("status", "params")]
    wrongs: list[dict[str, Any]] = [{"fingerprint": [1]}, {"seed": {}}, {"task": []}, {"times": None}]
    shapes += [json.dumps(whole | wrong) for wrong in wrongs]
    for number, shape in enumerate(shapes):
        folder = Path(f"results/runs/damaged{number}")
        folder.mkdir()
        (folder / "run.json").write_bytes(shape if isinstance(shape, bytes) else shape.encode())
    (folders()[0] / "run.json").write_text("{")
    assert read_run(folders()[0]) is None
    capsys.readouterr()
    grid(seeds(2))
    assert f"{len(shapes) + 1} records cannot be read and are left out, such as " in capsys.readouterr().out
    assert [len(stack) for stack in trained] == [2, 1]
