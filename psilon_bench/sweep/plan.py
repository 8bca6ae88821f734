"""The plan of a sweep: which runs are done, which go on from a checkpoint, how the others are grouped and placed."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from psilon_bench.config.schema import Config, DatasetSection
from psilon_bench.data.tasks import load_task
from psilon_bench.records.checkpoint import CheckpointIndex, set_aside_outdated, unfinished
from psilon_bench.records.finished import FinishedRuns
from psilon_bench.records.places import sweep_folder
from psilon_bench.records.run_json import RunDict
from psilon_bench.run.display import Display
from psilon_bench.run.printing import Range
from psilon_bench.sweep.attempt import Attempt
from psilon_bench.sweep.other_launchers import OtherLauncher
from psilon_bench.sweep.placement import Placement, place_groups, place_here
from psilon_bench.sweep.process_pool import ProcessPool
from psilon_bench.sweep.races import by_race, enters, race_key, raced_placements, races
from psilon_bench.sweep.stack_shapes import stacks
from psilon_bench.sweep.timing import num_steps


@dataclass
class Plan:
    """The runs of a sweep: those that are done, and those that are to train, in groups that can be cut into stacks."""

    configs: list[Config]
    done: dict[str, RunDict]  # run.json by identity
    resumed: list[list[Config]]  # stacks with a checkpoint, whole
    races: list[Attempt]  # those with a checkpoint first, then one for each data set
    groups: list[list[Config]]  # lone runs with a checkpoint, then the others by structure
    finished: FinishedRuns
    changes: list[str]  # why runs train again that were done before, and which records cannot be read
    begun: int  # how many of those that are to train go on from a checkpoint

    @cached_property
    def to_do(self) -> list[Config]:
        """Return the runs that are to train."""
        return [config for config in self.configs if config.identity.key not in self.done]

    def pool(self) -> ProcessPool:
        """Return a pool of processes for stacks and groups; it starts when it is first used."""
        return ProcessPool(self.configs[0].hardware, len(self.resumed) + sum(map(len, self.groups)))

    def placed(self, pool: ProcessPool, timed: bool = False) -> list[Placement]:
        """Return the placements of the stacks that go on, and of the groups."""
        return place_groups([*self.resumed, *self.groups], pool, timed, num_whole=len(self.resumed))

    def divided(self, pool: ProcessPool) -> tuple[list[list[Config]], list[list[Config]]]:
        """Return the stacks that train in this process, and those that train in processes of the pool."""
        placements = self.placed(pool)
        number = len(self.resumed)
        whole = list(zip(self.resumed, placements[:number], strict=True))
        here = [stack for stack, placement in whole if not placement.workers]
        in_workers = [stack for stack, placement in whole if placement.workers]
        for group, placement in zip(self.groups, placements[number:], strict=True):
            kept, moved = placement.divide(group)
            here += stacks(kept, placement.size)
            in_workers += stacks(moved, placement.size)
        return here, in_workers

    def jobs(self, launcher: OtherLauncher) -> list[Attempt]:
        """Return all stacks and races, resumed ones included, as jobs of another launcher."""
        sizes = [launcher.stack_size(len(group), place_here(group).size) for group in self.groups]
        new = (stack for group, size in zip(self.groups, sizes, strict=True) for stack in stacks(group, size))
        return [*map(Attempt, self.resumed), *self.races, *map(Attempt, new)]

    def described(self) -> list[tuple[list[Config], str, Placement, Range | None]]:
        """Return each group with the name of its data set, its placement, and the seconds that its steps take.

        These are an estimate between two ends, None where no step was measured.
        """
        with self.pool() as pool:
            raced = [group for race in self.races for group in raced_placements(race, pool)]
            others = zip([*self.resumed, *self.groups], self.placed(pool, timed=True), strict=True)
        return [
            (group, load_task(group[0].dataset.text()).name, placement, estimated_s(group, placement))
            for group, placement in [*raced, *others]
        ]


def make_plan(configs: Sequence[Config], display: Display, finished: FinishedRuns | None = None) -> Plan:
    """Leave out what is done, take up checkpoints, make races where they are asked for, group the rest by structure.

    finished: an index of the sweep's folder, which is read anew without it.
    """
    wanted = by_identity(configs)
    configs = list(wanted.values())
    finished = (finished or FinishedRuns(sweep_folder(configs[0]), configs[0].settings_kept)).refresh()
    ended = {} if configs[0].rerun else finished.runs
    done = {key: ended[key] for key in wanted if key in ended}
    todo = {key: config for key, config in wanted.items() if key not in done}
    changes = [] if configs[0].rerun else [*finished.left_out(), *finished.changes(todo.values())]
    resumed: list[list[Config]] = []
    raced: list[Attempt] = []
    groups: dict[str, list[Config]] = {}
    missing = len(todo)
    for index in checkpoints(todo, display):
        if set(index.keys) & set(todo) and set(index.keys) <= set(todo) | set(done):  # nothing is trained twice
            stack = [wanted[member] for member in index.keys]
            if index.heats:
                raced.append(Attempt(stack, heats=index.heats, entrants=by_race(configs)[race_key(stack[0])]))
            elif len(stack) > 1:
                resumed.append(stack)
            else:
                groups[index.keys[0]] = stack
            todo = {key: config for key, config in todo.items() if key not in index.keys}
    begun = missing - len(todo)
    if configs[0].race:
        raced += races(configs, list(todo.values()))
        todo = {key: config for key, config in todo.items() if not enters(config)}
    for config in todo.values():
        groups.setdefault(config.structure(), []).append(config)
    return Plan(list(wanted.values()), done, resumed, raced, list(groups.values()), finished, changes, begun)


def checkpoints(todo: dict[str, Config], display: Display) -> list[CheckpointIndex]:
    """Return every usable checkpoint, after setting aside those of other data or other code.

    A race goes on from those of races alone, and other sweeps from those of stacks.
    """
    configs = list(todo.values())
    if not configs or configs[0].rerun:
        return []
    set_aside_outdated(configs, display.note, only_say=configs[0].plan)
    return [index for index in unfinished(configs[0], display.note) if bool(index.heats) == configs[0].race]


def by_identity(configs: Sequence[Config]) -> dict[str, Config]:
    """Return the runs with the checksums of their data by identity: one that is asked for twice is there once."""
    return {config.identity.key: config for config in with_checksums(configs)}


def with_checksums(configs: Sequence[Config]) -> list[Config]:
    """Return the runs with the checksums of their data."""
    found = checksums([config.dataset for config in configs])
    return [config.with_data(found[config.dataset.text()]) for config in configs]


def checksums(sections: Sequence[DatasetSection]) -> dict[str, str]:
    """Return the checksum of the data of each section.

    The splits of one data set share it, and only two are read to see that; data that are drawn anew for every seed, by
    a source that counts them as other data, are all looked at.
    """
    sources: dict[str, dict[str, DatasetSection]] = {}
    for section in sections:
        sources.setdefault(section.source(), {})[section.text()] = section
    found: dict[str, str] = {}
    for splits in sources.values():
        first, *others = (load_task(text).checksum for text in list(splits)[:2])
        same = not others or others[0] == first
        found |= {text: first if same else load_task(text).checksum for text in splits}
    return found


def estimated_s(group: Sequence[Config], placement: Placement) -> Range | None:
    """Return the seconds that the training steps of all networks of a group take; None where none was measured.

    low and high: were all steps like the fast, or the slow, turns of the trial.
    """
    if placement.step_ms is None:
        return None
    seconds = len(group) * num_steps(group[0]) * placement.step_ms / 1000
    low, high = placement.spread
    return Range(seconds, low * seconds, high * seconds)
