"""What a sweep shows of runs in other processes, as their records tell it."""

import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from psilon_bench.records.history import write_rows
from psilon_bench.records.places import run_lock
from psilon_bench.records.run_locks import lock_run
from psilon_bench.run.display import Display
from psilon_bench.sweep import following
from psilon_bench.sweep.following import RecordFollower


@pytest.fixture
def stack(config: Any) -> list[Any]:
    return [config("trainer.epochs=100", f"seed={seed}").with_data("content") for seed in range(4)]


@pytest.fixture
def told(stack: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """told(follower, "running", "failed"): the follower looks at records that say so of the first runs."""
    states: dict[str, str] = {}
    versions = iter(range(1000))
    monkeypatch.setattr(following, "run_json_version", lambda record: next(versions))
    monkeypatch.setattr(
        following,
        "read_run",
        lambda record: {
            "status": states[record.name],
            "title": record.name,
            "reason": "no room",
            "fingerprint": (identity := stack[int(record.name)].identity).fingerprint,
            "task": {"checksum": identity.data},
            "code_version": identity.code,
        },
    )

    def told(follower: RecordFollower, *now: str) -> None:
        for number, state in enumerate(now):
            (tmp_path / str(number)).mkdir(exist_ok=True)
            states[str(number)] = state
        follower.update()

    return told


@pytest.fixture
def follower(stack: list[Any], tmp_path: Path) -> RecordFollower:
    return RecordFollower(
        tmp_path, {config.identity.key: config for config in stack}, Display(Console(quiet=True)), None
    )


@pytest.mark.parametrize("rows", [[], [{"epoch": 10.0}]])
def test_a_run_that_ended_before_its_stack_does_not_stand_for_it(
    stack: list[Any], follower: RecordFollower, told: Any, tmp_path: Path, rows: Any
) -> None:
    """One that diverged at once, or stopped early, has no more rows, and is `running` until all of them are."""
    with follower.display.sweep(4):
        told(follower, *["running"] * 4)
        write_rows(tmp_path / "0" / "history.csv", rows)
        for number in (1, 2, 3):
            write_rows(tmp_path / str(number) / "history.csv", [{"epoch": 10.0}, {"epoch": 60.0}])
        assert follower.epochs_over(stack) == pytest.approx(4 * 0.6)


def test_a_run_that_failed_and_is_tried_again_has_not_ended(follower: RecordFollower, told: Any) -> None:
    """The halves of a stack that failed train in the records of the whole."""
    ended = []
    with follower.display.sweep(4):
        for now in (["running"] * 4, ["failed"] * 4, ["running"] * 2, ["finished"] * 4):
            told(follower, *now)
            ended.append(follower.display.finished)
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
