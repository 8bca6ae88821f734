"""Heats that train side by side are those that train one after the other, to the last bit; a stop leaves all whole."""

import os
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
import torch
from stoppable import Stop, rows_of, saved
from test_race import SIZE, ends, raced, same  # noqa: F401  (a fixture)

from psilon_bench.training.side_by_side import SideBySide

HEATS = (4, 3, 2)
pytestmark = pytest.mark.unchecked_shapes


@pytest.mark.parametrize("kind", ["pnet", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("tuned", "early"))])
def test_they_are_those_one_after_the_other(raced: Any, kind: Any) -> None:  # noqa: F811
    """Rows, who leaves and why, networks; torch's own random numbers and threads stay as they were."""
    one, two = (raced(kind, HEATS, "hardware.precision=float32", f"hardware.threads={n}") for n in (1, 2))
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    rows = rows_of(two)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert rows == rows_of(one)
    assert two.raced_out.keys() == one.raced_out.keys()
    for mine, other in zip(ends(two), ends(one), strict=True):
        same(mine, other, 0.0)


@pytest.mark.parametrize("stop_at", [pytest.param(9, marks=pytest.mark.slow), 31])
def test_a_stop_leaves_all_heats_whole(raced: Any, stop_at: Any) -> None:  # noqa: F811
    """Asked to end at any step of any heat; what goes on from there, side by side or not, was never stopped."""
    whole, first = (raced("pnet", HEATS, "hardware.threads=2") for _ in range(2))
    expected = rows_of(whole)
    before = rows_of(first, stop_at)
    for threads in (1, 2):
        second = raced("pnet", HEATS, f"hardware.threads={threads}")
        second.load_state(saved(first))
        after = rows_of(second)
        assert [one + other for one, other in zip(before, after, strict=True)] == expected
        for one, other in zip(ends(second), ends(whole), strict=True):
            same(one, other, 0.0)


def test_what_is_saved_on_the_way_is_whole(raced: Any) -> None:  # noqa: F811
    """At every third epoch of all heats together no heat is at work."""
    race = raced("pnet", HEATS, "hardware.threads=2", "trainer.checkpoint_every=3")
    states: list[Any] = []
    epochs: list[int] = []
    rows: list[list[Any]] = [[] for _ in range(SIZE)]
    late: list[list[list[Any]]] = []

    def on_epoch(epoch: int) -> None:
        epochs.append(epoch)
        if epoch % 3 == 0:
            states.append(saved(race))
            late.append([[] for _ in range(SIZE)])

    def on_row(member: int, row: Any) -> None:
        rows[member].append(row)
        for one in late:
            one[member].append(row)

    race.run(on_row, on_epoch)
    assert epochs == sorted(epochs)
    assert epochs[-1] == race.epochs
    for state, rest in zip(states[::3], late[::3], strict=True):
        other = raced("pnet", HEATS, "hardware.threads=1", "trainer.checkpoint_every=3")
        other.load_state(state)
        assert rows_of(other) == rest


def test_the_heat_that_failed_is_to_blame(raced: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Its members are at work, and the other heats have stopped between two steps."""
    race = raced("pnet", HEATS, "hardware.threads=2")
    batches = race.heats[1].engine.batches
    epochs = iter(range(9))

    def failing() -> Any:
        if next(epochs) == 1:
            raise ZeroDivisionError("in the second epoch")
        return type(batches).epoch(batches)

    monkeypatch.setattr(batches, "epoch", failing)
    with pytest.raises(ZeroDivisionError, match="second epoch"):
        race.run(lambda member, row: None)
    assert race.at_work == race.heats[1].members
    assert threading.active_count() == 1


def test_at_rest_nobody_else_works() -> None:
    """Of four works on three threads that all want rest, again and again, one is at work within."""
    side, inside, most = SideBySide(lambda: None), [0], [0]

    def work() -> None:
        for turn in range(20):
            inside[0] += 1
            time.sleep(0.0005)
            inside[0] -= 1
            side.safe_point()
            if turn % 4 == 0:
                with side.at_rest():
                    most.append(inside[0])
                    time.sleep(0.001)
                    most.append(inside[0])

    side.run([work] * 4, 3)
    assert max(most) == 0
    assert len(most) == 1 + 4 * 5 * 2


def test_after_a_failure_nothing_is_saved() -> None:
    """The work that failed may have stopped within a step: who is at the end of an epoch then ends there."""
    side, saves = SideBySide(lambda: None), []

    def failing() -> None:
        time.sleep(0.01)
        raise KeyError("within a step")

    def saving() -> None:
        while side.error is None:
            time.sleep(0.001)
        with side.at_rest():
            saves.append(1)

    with pytest.raises(KeyError, match="within"):
        side.run([saving, failing, saving], 3)
    assert saves == []


def test_an_epoch_counts_that_ends_after_a_stop(raced: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Of a heat that waits to be saved when another one is asked to end: its state is that after the epoch."""
    race = raced("pnet", HEATS, "hardware.threads=2", "trainer.checkpoint_every=1")
    engine, late = race.heats[1].engine, threading.Event()
    evaluate = engine.evaluate

    def evaluate_late(on_row: Any) -> None:
        evaluate(on_row)
        late.set()
        time.sleep(0.1)

    def on_epoch(epoch: int) -> None:
        if late.is_set():
            raise Stop

    monkeypatch.setattr(engine, "evaluate", evaluate_late)
    with pytest.raises(Stop):
        race.run(lambda member, row: None, on_epoch)
    assert [heat.epoch for heat in race.heats] == [heat.engine.epoch - 1 for heat in race.heats]


def test_the_first_failure_ends_all() -> None:
    """Those at work end at their next safe point, those that wait do not begin."""
    side, begun = SideBySide(lambda: None), []

    def endless() -> None:
        begun.append(1)
        while True:
            side.safe_point()

    def failing() -> None:
        time.sleep(0.01)
        raise KeyError("first")

    with pytest.raises(KeyError, match="first"):
        side.run([endless, failing, endless, endless], 2)
    assert (len(begun), side.failed) == (1, 1)


def test_a_work_computes_on_one_thread() -> None:
    """In OpenMP, too, whose number of threads is one of each Python thread, and at first that of the environment."""
    program = (
        "import torch\n"
        "from threadpoolctl import threadpool_info\n"
        "from psilon_bench.training.side_by_side import SideBySide\n"
        "def work():\n"
        "    print([one['num_threads'] for one in threadpool_info() if one['user_api'] == 'openmp'])\n"
        "work()\n"
        "SideBySide(lambda: None).run([work], 2)\n"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    process = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert process.stdout.splitlines() == ["[2]", "[1]"], process.stderr


def test_denormal_numbers_are_zero_on_every_thread() -> None:
    """A thread has the rounding of the one that starts it."""
    torch.set_flush_denormal(True)
    tiny: list[float] = []
    side = SideBySide(lambda: None)
    side.run([lambda: tiny.append((torch.tensor([1e-38]) * 0.01).item())] * 3, 2)
    torch.set_flush_denormal(False)
    assert tiny == [0.0] * 3
