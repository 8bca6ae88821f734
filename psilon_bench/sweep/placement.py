"""Where each group of a sweep trains, in stacks or one by one: in this process, or side by side in other processes.

hardware.plan decides; `auto` takes what fits into memory and what is fastest, as measured by trials on a CPU.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from psilon_bench.config.identity import digest
from psilon_bench.config.repeated import without_repeated
from psilon_bench.config.schema import Config
from psilon_bench.machine.device import device_settings
from psilon_bench.run.checks import prepare
from psilon_bench.sweep.memory import most_in_each, most_networks, most_processes, num_splits
from psilon_bench.sweep.process_pool import ProcessPool, with_threads
from psilon_bench.sweep.stack_shapes import can_stack
from psilon_bench.sweep.timing import StepTime, ms_per_network, num_steps, step_time

START_UP_S = 10.0  # what processes must save to be worth their start


@dataclass(frozen=True)
class Placement:
    """How the networks of a group train.

    size: networks in a stack, 1 for none. step_ms: milliseconds of a step per network, None where it was not measured;
    spread: what the fast and the slow turns of its trial took, as multiples of step_ms (see StepTime).
    workers: processes side by side, 0 for this process. rest: with workers, the last so many networks of the group
    train in this process, for they would not keep all workers busy. raced: whether its stacks are heats of a race.
    """

    size: int
    step_ms: float | None
    workers: int = 0
    rest: int = 0
    raced: bool = False
    spread: tuple[float, float] = (1.0, 1.0)

    @classmethod
    def timed(cls, size: int, step: StepTime) -> "Placement":
        """Return a placement in this process whose steps take so long."""
        return cls(size, step.ms, spread=(step.low / step.ms, step.high / step.ms))

    def divide(self, group: list[Config]) -> tuple[list[Config], list[Config]]:
        """Return the part of the group that trains in this process, and the part that trains in workers."""
        in_workers = len(group) - self.rest if self.workers else 0
        return group[in_workers:], group[:in_workers]

    def __str__(self) -> str:
        how = f"in stacks of {self.size}" if self.size > 1 else "one by one"
        if self.workers:
            return f"{f'{how}, ' if self.size > 1 else ''}in {self.workers} processes"
        return f"raced {how}" if self.raced else how


ONE_BY_ONE = Placement(1, None)


@dataclass
class EqualGroups:
    """Groups of equally many networks whose steps take equally long: one trial is for all of them."""

    group: Sequence[Config]  # one of the groups, which is tried
    is_whole: bool = False  # whether each group is a stack with a checkpoint, which goes on as it is
    groups: int = 0  # how many groups there are
    placement: Placement = ONE_BY_ONE
    size_in_workers: int = 1  # networks in a stack, where processes train these groups
    ms_here: float = 0.0  # milliseconds of a step per network in this process,
    ms_in_workers: float = math.inf  # and in processes side by side

    @property
    def runs(self) -> int:
        """Return the number of runs in all of the groups."""
        return self.groups * len(self.group)

    @property
    def stacks_in_workers(self) -> int:
        """Return the number of stacks, or lone runs, that processes would train."""
        return self.groups * math.ceil(len(self.group) / self.size_in_workers)

    @property
    def is_moved(self) -> bool:
        """Return whether `move_to_workers` gave the groups to processes."""
        return self.plan == "auto" and self.placement.workers > 0

    @property
    def plan(self) -> str:
        """Return hardware.plan; on a GPU `auto` is `stacked`, without a measurement."""
        hardware = self.group[0].hardware
        on_gpu = hardware.plan == "auto" and device_settings(hardware).device.type != "cpu"
        return "stacked" if on_gpu else hardware.plan


def place_groups(
    groups: Sequence[Sequence[Config]], pool: ProcessPool, timed: bool = False, num_whole: int = 0
) -> list[Placement]:
    """Return the placement of each group.

    timed: with the time of a step even where nothing depends on it. num_whole: the first so many groups are stacks with
    checkpoints, which go on as they are.
    """
    keys = [(number < num_whole, *timing_key(group)) for number, group in enumerate(groups)]
    kinds: dict[tuple[bool, str, int], EqualGroups] = {}
    for key, group in zip(keys, groups, strict=True):
        kinds.setdefault(key, EqualGroups(group, key[0])).groups += 1
    movable = [kind for kind in kinds.values() if kind.plan in ("auto", "processes")]
    if movable:
        pool.limit(min(most_processes(prepare(kind.group[0])) for kind in movable))
    for kind in kinds.values():
        kind.placement = placement_of(kind, pool.workers)
    if pool.workers > 1:
        move_to_workers([kind for kind in movable if kind.plan == "auto"], pool)
    if timed:
        for kind in kinds.values():
            kind.placement = with_step_time(kind, pool)
    placements = [kinds[key].placement for key in keys]
    left_over = num_left_over([kind for kind in movable if kind.is_moved], pool.workers)
    return placements[:num_whole] + keep_here(groups[num_whole:], placements[num_whole:], left_over)


def placement_of(kind: EqualGroups, workers: int) -> Placement:
    """Return how groups train before processes are compared: here, or where hardware.plan is `processes` in these."""
    size, asked = len(kind.group), kind.group[0].hardware.stack_size
    if kind.plan != "processes":
        return Placement(size, None) if kind.is_whole else place_here(kind.group)
    if not kind.is_whole:
        size = min(asked, size) if isinstance(asked, int) else 1
        size = size if size > 1 and can_stack(kind.group, prepare(kind.group[0])) else 1
    return Placement(size, None, workers)


def place_here(configs: Sequence[Config]) -> Placement:
    """Return stacks or one by one, in this process, for configurations of one structure: hardware.plan decides."""
    hardware = configs[0].hardware
    member = prepare(configs[0])
    if hardware.plan in ("serial", "processes") or len(configs) == 1 or not can_stack(configs, member):
        return ONE_BY_ONE
    limit = hardware.stack_size
    if limit == "auto":
        limit = most_networks(member, num_splits(configs) / len(configs))
    size = min(limit, len(configs))
    if hardware.plan == "stacked" or device_settings(hardware).device.type != "cpu":
        return Placement(size, None)
    try:
        alone, stacked = step_time(configs, 1), step_time(configs, size)
    except Exception:  # what is wrong with these networks is told, and recorded, when they train
        return Placement(size, None)
    return Placement.timed(size, stacked) if stacked.ms < alone.ms else Placement.timed(1, alone)


def timing_key(group: Sequence[Config]) -> tuple[str, int]:
    """Return what decides how long a step takes, and the number of networks."""
    values = group[0].nested()
    dataset = without_repeated(values["dataset"])
    batches = values["trainer"]["epochs"], values["trainer"]["num_batches"], values["trainer"]["batch_size"]
    names = values["reg"]["name"], values["optimizer"]["name"], values["pruner"]["name"]
    return digest([values["model"], dataset, batches, names, values["hardware"]]), len(group)


def move_to_workers(kinds: Sequence[EqualGroups], pool: ProcessPool) -> None:
    """Place groups in processes where these save more than START_UP_S; no process is started where they could not."""
    kinds = [kind for kind in kinds if fits_into_workers(kind, pool.workers)]
    groups = sum(kind.groups for kind in kinds)
    for kind in kinds:
        kind.size_in_workers = stack_in_workers(kind, groups, pool.workers)
        estimate_ms(kind, pool)
    hopeful = [kind for kind in kinds if kind.ms_in_workers < kind.ms_here]
    if saved_s(hopeful, pool.workers) < START_UP_S:
        return
    try:
        for kind in hopeful:
            kind.ms_in_workers = pool.trial(kind.group[: kind.size_in_workers])
    except Exception:  # no room for so many, say
        pool.close()
        return
    faster = [kind for kind in hopeful if kind.ms_in_workers < kind.ms_here]
    if saved_s(faster, pool.workers) < START_UP_S:
        pool.close()
        return
    for kind in faster:
        kind.placement = Placement(kind.size_in_workers, kind.ms_in_workers, pool.workers)


def stack_in_workers(kind: EqualGroups, groups: int, workers: int) -> int:
    """Return the size of stacks in processes: as large as keeps all of them busy to the end, and as memory allows.

    groups: how many groups of all kinds there are. What trains one by one here does so there.
    """
    if kind.is_whole or kind.placement.size == 1:
        return kind.placement.size
    parts = workers // math.gcd(workers, groups)
    return max(1, min(kind.placement.size, math.ceil(len(kind.group) / parts), room(kind, workers)))


def room(kind: EqualGroups, workers: int) -> int:
    """Return the number of networks of this kind that fit into the memory of each of so many processes."""
    return most_in_each(prepare(kind.group[0]), num_splits(kind.group) / len(kind.group), workers)


def fits_into_workers(kind: EqualGroups, workers: int) -> bool:
    """Return whether all processes have room for a stack; one with a checkpoint cannot be made smaller."""
    return not kind.is_whole or len(kind.group) <= room(kind, workers)


def with_step_time(kind: EqualGroups, pool: ProcessPool) -> Placement:
    """Return the placement with the time of a step; without it for what has no steps, or cannot be tried."""
    placed = kind.placement
    if placed.step_ms is not None:
        return placed
    try:
        if placed.workers:
            return replace(placed, step_ms=pool.trial(kind.group[: placed.size]))
        step = Placement.timed(placed.size, step_time(kind.group, placed.size))
        return replace(placed, step_ms=step.step_ms, spread=step.spread)
    except Exception:
        return placed


def estimate_ms(kind: EqualGroups, pool: ProcessPool) -> None:
    """Set the times of a step by trials in this process, as if processes side by side did not slow each other."""
    try:
        kind.ms_here = kind.placement.step_ms or ms_per_network(kind.group, kind.placement.size)
        there = with_threads(kind.group[: kind.size_in_workers], pool.threads)
        kind.ms_in_workers = ms_per_network(there, kind.size_in_workers) / pool.workers
    except Exception:  # what is wrong with these networks is told, and recorded, when they train
        kind.ms_in_workers = math.inf


def saved_s(kinds: Sequence[EqualGroups], workers: int) -> float:
    """Return the seconds that processes save; a last batch that leaves some idle takes as long as a full one."""
    saved = sum(run_s(kind, kind.runs * (kind.ms_here - kind.ms_in_workers)) for kind in kinds)
    if left := sum(kind.stacks_in_workers for kind in kinds) % workers:
        last = kinds[-1]
        longer = min(left * last.ms_here, workers * last.ms_in_workers) - left * last.ms_in_workers
        saved -= run_s(last, last.size_in_workers * longer)
    return saved


def num_left_over(kinds: Sequence[EqualGroups], workers: int) -> int:
    """Return how many runs would not keep all workers busy, if these train faster in this process; 0 otherwise."""
    left = sum(kind.stacks_in_workers for kind in kinds) % workers
    if not left or left * kinds[-1].ms_here >= workers * kinds[-1].ms_in_workers:
        return 0
    return left * kinds[-1].size_in_workers


def keep_here(groups: Sequence[Sequence[Config]], placements: Sequence[Placement], num_runs: int) -> list[Placement]:
    """Return the placements with the last `num_runs` runs that were to train in processes placed in this one."""
    final = list(placements)
    for index in reversed(range(len(groups))):
        if final[index].workers and num_runs:
            rest = min(num_runs, len(groups[index]))
            final[index] = replace(final[index], rest=rest)
            num_runs -= rest
    return final


def run_s(kind: EqualGroups, ms_per_step: float) -> float:
    """Return the seconds of a run whose steps take so many milliseconds."""
    return num_steps(kind.group[0]) * ms_per_step / 1000
