"""Sweeps that are interrupted: by errors, by a lack of memory, by signals; the rest ends, and ends the same."""

import functools
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from runs_by_seed import by_seed, folders, seeds, text

from psilon_bench.errors import RunFailed
from psilon_bench.machine.signals import Stopped
from psilon_bench.models.mlp import MLP
from psilon_bench.records.history import read_rows
from psilon_bench.training.step import TrainingStep
from psilon_bench.training.trainer import Trainer


def failing(monkeypatch: pytest.MonkeyPatch, fails: Callable[[list[int]], bool], error: Exception) -> list[list[int]]:
    """From now on the training of such stacks raises at its third step; the seeds of all that began."""
    began: list[list[int]] = []
    run, step = Trainer.run, TrainingStep.__call__
    count = 0

    def noted(self: Trainer, *asked: Any) -> None:
        nonlocal count
        count = 0
        began.append([*self.recipe.seeds])
        run(self, *asked)

    def faulty(self: Any, batch: Any, number: Any) -> Any:
        nonlocal count
        count += 1
        if count == 3 and fails(began[-1]):
            raise error
        return step(self, batch, number)

    monkeypatch.setattr(Trainer, "run", noted)
    monkeypatch.setattr(TrainingStep, "__call__", faulty)
    return began


def test_halves_find_the_one_to_blame(grid: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others of its stack finish, in the folders they had."""
    with monkeypatch.context() as patch:
        began = failing(patch, lambda stack: 2 in stack, RuntimeError("two"))
        with pytest.raises(RunFailed, match="1 of 5 runs failed"):
            grid(seeds(5))
    assert began == [[0, 1, 2, 3, 4], [0, 1], [2, 3, 4], [2], [3, 4]]
    assert len(folders()) == 5
    own = by_seed()
    assert "RuntimeError: two" in text(own[2], "error.txt")
    grid(seeds(5))
    assert len(folders()) == 6
    grid(seeds(5), "name=whole")
    for seed, folder in by_seed("whole").items():
        rows, again = (read_rows(one / "history.csv") for one in (folder, by_seed()[seed]))
        assert [row["val/loss"] for row in again] == pytest.approx([row["val/loss"] for row in rows], rel=1e-12)


@pytest.mark.slow
def test_out_of_memory_halves(grid: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack size that fits is found; nothing fails, nothing is told twice."""
    began = failing(monkeypatch, lambda stack: len(stack) > 2, torch.OutOfMemoryError("CUDA out of memory"))
    outcomes = grid(seeds(8))
    assert [len(stack) for stack in began] == [8, 4, 2, 2, 4, 2, 2]
    assert [run["status"] for run in outcomes.values()] == ["finished"] * 8
    assert len(folders()) == 8
    assert all(len(read_rows(folder / "history.csv")) == 2 for folder in folders())


@pytest.mark.parametrize(("retries", "ends"), [(0, False), (1, False), (2, True)])
def test_retries(grid: Any, monkeypatch: pytest.MonkeyPatch, retries: Any, ends: Any) -> None:
    """A lone run is tried again as often as asked for, in its folder."""
    left = [1, 1]
    began = failing(monkeypatch, lambda stack: bool(left and left.pop()), OSError("the disk was away"))
    if ends:
        grid(seeds(1), f"retries={retries}")
    else:
        with pytest.raises(RunFailed, match="1 of 1 runs failed"):
            grid(seeds(1), f"retries={retries}")
    assert len(began) == retries + 1
    (folder,) = folders()
    assert len(read_rows(folder / "history.csv")) == (2 if ends else 0)


def test_a_run_that_cannot_be_set_up(grid: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails alone, without a record."""

    init = MLP.__init__

    @functools.wraps(init)
    def refuses(self: MLP, *args: Any, **values: Any) -> None:
        if torch.initial_seed() == 1:
            raise MemoryError("no room")
        init(self, *args, **values)

    monkeypatch.setattr(MLP, "__init__", refuses)
    with pytest.raises(RunFailed, match="1 of 3 runs failed"):
        grid(seeds(3))
    assert set(by_seed()) == {0, 2}


RESUMED = [
    ["model=pnet", "optimizer=adam", "scheduler=onecycle"],
    ["model=snet", "reg=l2", "optimizer=sgd", "scheduler=cosine"],
    ["model=mlp", "reg=none", "optimizer=adam", "scheduler=multistep", "trainer.batch_size=64"],
    ["model=pnet", "scheduler=constant", "optimizer.lr=0.05", "trainer.early_stopping=2", "trainer.select=best"],
]


@pytest.mark.sampled(every=2)
@pytest.mark.parametrize(
    ("choice", "plan"),
    [
        (RESUMED[0], "stacked"),
        (RESUMED[3], "serial"),
        *(pytest.param(choice, "stacked", marks=pytest.mark.slow) for choice in RESUMED[1:]),
        pytest.param(RESUMED[0], "serial", marks=pytest.mark.slow),
    ],
)
def test_stopped_anywhere_it_ends_the_same(
    grid: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], choice: Any, plan: Any
) -> None:
    """SIGTERM at step 13 (mid-epoch), again at the 20th step after it: the same files, bit for bit, in one folder.

    The line that opens the sweep says how many runs go on.
    """
    common = [*choice, f"hardware.plan={plan}", "trainer.epochs=14", "trainer.num_batches=5"]
    grid(seeds(3), *common, "name=whole")
    step, count = TrainingStep.__call__, 0

    def stops(self: Any, batch: Any, number: Any) -> Any:
        nonlocal count
        count += 1
        if count in (13, 33):
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch, number)

    monkeypatch.setattr(TrainingStep, "__call__", stops)
    for _ in range(2):
        with pytest.raises(Stopped):
            grid(seeds(3), *common, "name=cut")
    assert "from a checkpoint" not in capsys.readouterr().out.partition("results/cut")[0]
    grid(seeds(3), *common, "name=cut")
    begun = 3 if plan == "stacked" else 1
    assert f"3 to do, {begun} of them from a checkpoint." in capsys.readouterr().out
    whole, cut = by_seed("whole"), by_seed("cut")
    assert set(whole) == set(cut) == {0, 1, 2}
    assert len(folders("cut")) == 3
    for seed, folder in whole.items():
        assert text(cut[seed]) == text(folder)
        for file in ("model.pt", "best.pt", "last.pt"):
            if (folder / file).exists():
                left, right = torch.load(folder / file), torch.load(cut[seed] / file)
                assert all(torch.equal(left[name], right[name]) for name in left)
    assert not list(Path("results/cut/.checkpoints").glob("*.pt"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "epochs", [pytest.param(4, marks=pytest.mark.slow), 7]
)  # each gives the checkpoints another order
def test_overlapping_checkpoints_train_nothing_twice(grid: Any, monkeypatch: pytest.MonkeyPatch, epochs: Any) -> None:
    """A stack was stopped, then parts of it alone: all left a checkpoint."""
    length = (f"trainer.epochs={epochs}", "scheduler=constant")
    step, count = TrainingStep.__call__, 0

    def stops(self: Any, batch: Any, number: Any) -> Any:
        nonlocal count
        count += 1
        if count in (3, 6, 9, 12):
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch, number)

    monkeypatch.setattr(TrainingStep, "__call__", stops)
    for number in (4, 3, 2, 1):
        with pytest.raises(Stopped):
            grid(seeds(number), *length)
    assert len(list(Path("results/runs/.checkpoints").glob("*.json"))) == 4
    grid(seeds(4), *length)
    runs = [json.loads(text(folder, "run.json")) for folder in folders()]
    finished = sorted(run["seed"] for run in runs if run["status"] == "finished")
    assert finished == [0, 1, 2, 3]
