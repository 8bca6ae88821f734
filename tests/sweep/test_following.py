"""What a sweep shows of runs in other processes, as their records tell it."""

import shutil
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from psilon_bench.records.places import run_lock, sweep_folder
from psilon_bench.records.record import Record
from psilon_bench.records.run_locks import lock_run
from psilon_bench.run.display import Display
from psilon_bench.sweep.following import RecordFollower

TASK = {"task": {"name": "small", "kind": "binary", "checksum": "content"}}


@pytest.fixture
def stack(config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    monkeypatch.chdir(tmp_path)
    return [config("trainer.epochs=100", f"seed={seed}").with_data("content") for seed in range(4)]


@pytest.fixture
def follower(stack: list[Any]) -> RecordFollower:
    wanted = {config.identity.key: config for config in stack}
    return RecordFollower(sweep_folder(stack[0]), wanted, Display(Console(quiet=True)), None)


@pytest.mark.parametrize("rows", [0, 1])
def test_a_run_that_ended_before_its_stack_does_not_stand_for_it(
    stack: list[Any], follower: RecordFollower, rows: int
) -> None:
    """One that diverged at once, or stopped early, has no more rows, and is `running` until all of them are."""
    first, *others = [Record(config, TASK) for config in stack]
    for _ in range(rows):
        first.add_row({"epoch": 10.0})
    for epoch in (10.0, 60.0):
        for record in others:
            record.add_row({"epoch": epoch})
    with follower.display.sweep(4):
        follower.update()
        assert follower.epochs_over(stack) == pytest.approx(4 * 0.6)


def test_a_run_that_failed_and_is_tried_again_has_not_ended(
    stack: list[Any], follower: RecordFollower, capsys: pytest.CaptureFixture[str]
) -> None:
    """The halves of a stack that failed train in the records of the whole."""
    records = [Record(config, TASK) for config in stack]
    ended = []

    def look() -> None:
        follower.update()
        ended.append(follower.display.finished)

    with follower.display.sweep(4):
        look()
        for record in records:
            record.finish("failed", reason="no room")
        look()
        records[:2] = [Record.reopen(record.folder) for record in records[:2]]
        look()
        notes = sorted(capsys.readouterr().err.splitlines())  # a folder is listed in no order
        assert notes == [f"note: {config.title}: tried again" for config in stack[:2]]
        for record in records:
            record.finish("finished")
        look()
    assert ended == [0, 4, 2, 4]


@pytest.mark.slow
def test_a_process_does_not_wait_while_others_are_left(psilon: Any, start: Any, records: Any) -> None:
    """What another sweep trains comes last, so that two share their runs; it is waited for, and trained if need be."""
    psilon("-m", "seed=0,1,2", "hardware.plan=serial", "tracking=none")
    first = next(run for run in records() if run["seed"] == 0)
    for run in records():
        shutil.rmtree(run["folder"])
    with ExitStack() as held:
        assert lock_run(run_lock(first["folder"].parent, first["identity"]), held)
        process = start("-m", "seed=0,1,2", "hardware.plan=processes", "hardware.workers=1", "tracking=none")
        deadline = time.monotonic() + 60
        while [run["seed"] for run in records() if run["status"] == "finished"] != [1, 2]:
            assert time.monotonic() < deadline, process.kill() or process.communicate()
            time.sleep(0.05)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 0, text
    assert sorted(run["seed"] for run in records()) == [0, 1, 2]
