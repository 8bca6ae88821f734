"""Where runs train: processes where these save time and memory has room; what a killed process leaves is put back."""

import itertools
import math
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from psilon_bench.records.checkpoint import Checkpoint
from psilon_bench.run.checks import prepare
from psilon_bench.sweep import memory, placement
from psilon_bench.sweep.placement import Placement
from psilon_bench.sweep.process_pool import ProcessPool, StackQueue


class Timed(ProcessPool):
    """Processes that were timed already."""

    trial_ms = math.nan

    def trial(self, config: Any) -> Any:
        assert not math.isnan(self.trial_ms), "they need not have been started"
        return self.trial_ms


@pytest.mark.parametrize(
    ("runs", "here", "alone", "apart", "way"),
    [
        (8, 6.0, 9.0, 5.0, "in 2 processes"),  # 8 x 5000 steps: 240 s here, 200 s in processes
        (8, 6.0, 9.0, 5.9, "one by one"),  # they slow each other: 4 s are not worth it
        (8, 6.0, 12.1, math.nan, "one by one"),  # no need to start them
        (1, 6.0, 9.0, math.nan, "one by one"),
        (2, 6.0, 9.0, 5.1, "one by one"),  # 9 s
        (3, 6.0, 11.0, math.nan, "one by one"),  # 90 s, 85 s with the third run here
        (9, 6.0, 9.0, 5.5, "in 2 processes"),  # 270 s, 250 s with the ninth run here
    ],
)
def test_auto_takes_what_saves_time(
    config: Any, monkeypatch: pytest.MonkeyPatch, runs: Any, here: Any, alone: Any, apart: Any, way: Any
) -> None:
    """Milliseconds of a step per network here, of one that uses one thread, and of two processes at work."""
    configs = [config("hardware.plan=auto", "trainer.epochs=1000", f"seed={seed}") for seed in range(runs)]
    monkeypatch.setattr(placement, "place_here", lambda group: Placement(1, here))
    monkeypatch.setattr(placement, "ms_per_network", lambda configs, size: alone)
    processes = Timed(configs[0].hardware.model_copy(update={"threads": 2}), runs)
    processes.trial_ms = apart
    (choice,) = placement.place_groups([configs], processes)
    assert str(choice) == way
    singly = placement.place_groups([[one] for one in configs], processes)  # one decision for all groups together
    assert {str(choice) for choice in singly} == {way}
    for groups, choices in (([configs], [choice]), ([[one] for one in configs], singly)):
        parts = [choice.divide(group) for group, choice in zip(groups, choices, strict=True)]
        here, apart = (list(itertools.chain.from_iterable(part)) for part in zip(*parts, strict=True))
        assert apart + here == configs
        assert len(apart) == (runs - runs % 2 if "processes" in way else 0)  # whole rounds


@pytest.mark.parametrize(
    ("groups", "runs", "cores", "size"),
    [
        (1, 8, 2, 4),  # two stacks
        (2, 8, 2, 8),  # a stack each
        (3, 8, 2, 4),  # six stacks, three each
        (4, 9, 8, 5),  # eight stacks, of five and four
        (1, 3, 4, 1),  # fewer runs than cores
    ],
)
def test_stacks_keep_all_processes_busy(
    config: Any, monkeypatch: pytest.MonkeyPatch, groups: Any, runs: Any, cores: Any, size: Any
) -> None:
    """They are as large as that allows, and none of their runs is left out or there twice."""
    configs = [
        [config(f"model.hidden={hidden}", "trainer.epochs=1000", f"seed={seed}") for seed in range(runs)]
        for hidden in range(5, 5 + groups)
    ]
    monkeypatch.setattr(placement, "place_here", lambda group: Placement(len(group), 6.0))
    monkeypatch.setattr(placement, "ms_per_network", lambda configs, size: 6.1)
    processes = Timed(configs[0][0].hardware.model_copy(update={"threads": cores}), groups * runs)
    processes.trial_ms = 6.2 / cores
    choices = placement.place_groups(configs, processes)
    assert {choice.size for choice in choices} == {size}
    how = f"in stacks of {size}, in" if size > 1 else "in"
    assert {str(choice) for choice in choices} == {f"{how} {processes.workers} processes"}
    assert sum(math.ceil(runs / choice.size) for choice in choices) % processes.workers == 0


def test_a_stack_with_a_checkpoint_is_not_cut(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on as it is, in a process where that saves time."""
    stack = [config("trainer.epochs=1000", f"seed={seed}") for seed in range(9)]
    monkeypatch.setattr(placement, "ms_per_network", lambda configs, size: 6.0)
    processes = Timed(stack[0].hardware.model_copy(update={"threads": 2}), 4)
    processes.trial_ms = 3.1
    choices = placement.place_groups([stack, stack, stack], processes, num_whole=3)
    assert [(choice.size, choice.workers, choice.rest) for choice in choices] == [(9, 2, 0)] * 3


@pytest.mark.parametrize("processes", [1, 2, 5])
def test_stacks_fit_into_memory_together(config: Any, monkeypatch: pytest.MonkeyPatch, processes: Any) -> None:
    """All processes, each with its stack, take half of the free memory at most; with one network more each, more."""
    member = prepare(config())
    monkeypatch.setattr(memory, "free_bytes", lambda device: 12 * memory.PROCESS_BYTES)
    number = memory.most_in_each(member, 0.5, processes)

    def taken(networks: int) -> float:
        each = memory.network_bytes(member) + memory.data_bytes(member)
        return processes * (memory.PROCESS_BYTES + networks * each)

    assert taken(number) <= 6 * memory.PROCESS_BYTES < taken(number + 1)


def test_a_stack_with_a_checkpoint_goes_where_it_fits(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, where two of its size, each in a process, would take too much memory."""
    stack = [config("trainer.epochs=1000", f"seed={seed}") for seed in range(9)]
    monkeypatch.setattr(placement, "ms_per_network", lambda configs, size: 6.0)
    monkeypatch.setattr(placement, "most_in_each", lambda member, splits, processes: 8)
    processes = Timed(stack[0].hardware.model_copy(update={"threads": 2}), 4)
    assert {choice.workers for choice in placement.place_groups([stack, stack], processes, num_whole=2)} == {0}


@pytest.mark.parametrize(
    ("halves", "states", "expected"),
    [
        ([], ["running"] * 4, [[0, 1, 2, 3]]),
        ([], ["finished"] * 4, []),
        ([[0, 1, 2, 3]], ["killed"] * 4, [[0, 1, 2, 3]]),
        ([[0, 1]], ["killed", "killed", "failed", "failed"], [[0, 1], [2, 3]]),
        ([[2, 3]], ["finished", "finished", "killed", "killed"], [[2, 3]]),
        ([[3], [0, 1]], ["killed", "killed", "failed", "killed"], [[0, 1], [3], [2]]),
    ],
)
def test_a_stack_that_was_lost_with_its_pool_comes_back(
    config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, halves: Any, states: Any, expected: Any
) -> None:
    """In the parts that have checkpoints, which come first, and the rest; without what has finished."""
    monkeypatch.chdir(tmp_path)
    stack = [config(f"seed={seed}").with_data("content") for seed in range(4)]
    for half in halves:
        members = [stack[seed] for seed in half]
        Checkpoint.of(members).save({}, [tmp_path / f"record{seed}" for seed in half], [[] for _ in half])
    queue = StackQueue(deque(), retries=1)
    queue.put_back(stack, lambda config: states[config.seed])
    assert sorted([config.seed for config in part] for part in queue.left) == sorted(expected)
    killed = [states[part[0].seed] == "killed" for part in queue.left]
    assert killed == sorted(killed, reverse=True)
