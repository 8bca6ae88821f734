"""Which groups of a sweep train in this process and which side by side in others: what is fastest, by trial."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from psilon_bench.config.identity import digest
from psilon_bench.config.schema import Config
from psilon_bench.machine.device import place
from psilon_bench.run.checks import prepare
from psilon_bench.sweep.process_pool import Processes, with_threads
from psilon_bench.sweep.stacks import Choice, choose, measured, processes_by_memory, step_ms, steps

LONE = Choice(1, None)
START_UP_S = 10.0  # what processes must save to be worth their start


@dataclass
class Kind:
    """Groups of equally many networks whose steps take equally long: one trial is for all of them."""

    group: Sequence[Config]
    groups: int = 0
    choice: Choice = LONE
    here: float = 0.0  # milliseconds of a step per network in this process,
    apart: float = math.inf  # and in processes side by side

    @property
    def runs(self) -> int:
        """Of all groups."""
        return self.groups * len(self.group)

    @property
    def is_moved(self) -> bool:
        """By `move`, to processes."""
        return self.plan == "auto" and self.choice.workers > 0

    @property
    def plan(self) -> str:
        """As asked for; a GPU is no matter of measurement."""
        hardware = self.group[0].hardware
        return "stacked" if hardware.plan == "auto" and place(hardware).device.type != "cpu" else hardware.plan


def ways(groups: Sequence[Sequence[Config]], processes: Processes, timed: bool = False) -> list[Choice]:
    """How each group trains, as hardware.plan says; with the time of a step in any case where `timed`."""
    kinds: dict[tuple[str, int], Kind] = {}
    for group in groups:
        kinds.setdefault(key_of(group), Kind(group)).groups += 1
    apart = [kind for kind in kinds.values() if kind.plan in ("auto", "processes")]
    if apart:
        processes.limit(min(processes_by_memory(prepare(kind.group[0])) for kind in apart))
    for kind in kinds.values():
        kind.choice = Choice(1, None, processes.workers) if kind.plan == "processes" else choose(kind.group)
    if processes.workers > 1:
        move([kind for kind in apart if kind.plan == "auto"], processes)
    if timed:
        for kind in kinds.values():
            kind.choice = replace(kind.choice, step_ms=kind.choice.step_ms or time_of(kind, processes))
    choices = [kinds[key_of(group)].choice for group in groups]
    return with_rest(groups, choices, rest_of([kind for kind in apart if kind.is_moved], processes.workers))


def key_of(group: Sequence[Config]) -> tuple[str, int]:
    """What decides how long a step takes, and how many networks there are."""
    values = group[0].nested()
    dataset = {key: value for key, value in values["dataset"].items() if key != "split_seed"}
    batches = values["trainer"]["epochs"], values["trainer"]["num_batches"], values["trainer"]["batch_size"]
    names = values["reg"]["name"], values["optimizer"]["name"], values["pruner"]["name"]
    return digest([values["model"], dataset, batches, names, values["hardware"]]), len(group)


def move(kinds: Sequence[Kind], processes: Processes) -> None:
    """To processes, where these save more than START_UP_S; they are not even started where they could not."""
    for kind in kinds:
        time_here(kind, processes)
    hopeful = [kind for kind in kinds if kind.apart < kind.here]
    if saved_s(hopeful, processes.workers) < START_UP_S:
        return
    try:
        for kind in hopeful:
            kind.apart = processes.trial(kind.group[0])
    except Exception:  # no room for so many, say
        processes.close()
        return
    faster = [kind for kind in hopeful if kind.apart < kind.here]
    if saved_s(faster, processes.workers) < START_UP_S:
        processes.close()
        return
    for kind in faster:
        kind.choice = Choice(1, kind.apart, processes.workers)


def time_of(kind: Kind, processes: Processes) -> float | None:
    """Milliseconds of a step per network in the way that was chosen; None for what has no steps, or cannot be tried."""
    try:
        return processes.trial(kind.group[0]) if kind.choice.workers else measured(kind.group, kind.choice.size)
    except Exception:
        return None


def time_here(kind: Kind, processes: Processes) -> None:
    """Times in this process; of processes side by side as if they did not slow each other."""
    try:
        kind.here = kind.choice.step_ms or measured(kind.group, kind.choice.size)
        kind.apart = step_ms([with_threads(kind.group[0], processes.threads)]) / processes.workers
    except Exception:  # what is wrong with these networks is told, and recorded, when they train
        kind.apart = math.inf


def saved_s(kinds: Sequence[Kind], workers: int) -> float:
    """Seconds that processes save; a last round that keeps not all of them busy takes as long as a full one."""
    saved = sum(seconds(kind, kind.runs * (kind.here - kind.apart)) for kind in kinds)
    if left := sum(kind.runs for kind in kinds) % workers:
        last = kinds[-1]
        saved -= seconds(last, min(left * last.here, workers * last.apart) - left * last.apart)
    return saved


def rest_of(kinds: Sequence[Kind], workers: int) -> int:
    """Of the runs of all kinds, how many would not fill a round of processes, and train faster in this process."""
    left = sum(kind.runs for kind in kinds) % workers
    return left if left and left * kinds[-1].here < workers * kinds[-1].apart else 0


def with_rest(groups: Sequence[Sequence[Config]], choices: Sequence[Choice], rest: int) -> list[Choice]:
    """The last so many runs that were to train in processes train here."""
    final = list(choices)
    for index in reversed(range(len(groups))):
        if final[index].workers and rest:
            own = min(rest, len(groups[index]))
            final[index] = replace(final[index], rest=own)
            rest -= own
    return final


def seconds(kind: Kind, steps_ms: float) -> float:
    """So many milliseconds for every step of a run."""
    return steps(kind.group[0]) * steps_ms / 1000
