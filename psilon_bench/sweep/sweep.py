"""A sweep: what is done is skipped, what is missing trains in stacks, what fails does not end the rest."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from psilon_bench.config.schema import Config, DatasetSection
from psilon_bench.data.tasks import load_task
from psilon_bench.errors import RunFailed
from psilon_bench.records.checkpoint import set_aside_outdated, unfinished_stacks
from psilon_bench.records.finished import FinishedRuns, folder_of
from psilon_bench.records.record import Run
from psilon_bench.run.display import Display
from psilon_bench.run.run import open_sender
from psilon_bench.sweep.following import Watch
from psilon_bench.sweep.other_launchers import Inner
from psilon_bench.sweep.placement import ways
from psilon_bench.sweep.process_pool import Processes
from psilon_bench.sweep.retries import Crew, keys_of
from psilon_bench.sweep.stacks import Choice, by_shape, choose, measured, steps
from psilon_bench.tracking.sender import Sender


@dataclass
class Plan:
    """The runs of a sweep: those done (by identity), and the groups that are to train."""

    configs: list[Config]
    done: dict[str, Run]
    resumed: list[list[Config]]  # stacks with a checkpoint, whole
    groups: list[list[Config]]  # lone runs with a checkpoint, then the others by structure, to be cut into stacks
    finished: FinishedRuns
    changes: list[str]  # why runs train again that were done before, and what is left out

    @property
    def to_do(self) -> list[Config]:
        """Runs that are to train."""
        return [config for config in self.configs if config.identity.key not in self.done]

    @property
    def missing(self) -> int:
        """How many they are."""
        return len(self.to_do)


def run(configs: Sequence[Config], inner: Inner | None, sender: Sender | None) -> dict[str, Run]:
    """Train what is missing of these runs, here or by an inner launcher; run.json of each by identity.

    RunFailed at the end where any run failed or diverged. With plan=true only shows what would be done.
    """
    display = Display()
    plan = make_plan(with_data(configs), display)
    for change in plan.changes:
        display.note(change)
    display.plan(len(plan.configs), len(plan.configs) - plan.missing, folder_of(configs[0]))
    if configs[0].plan:
        display.groups(described(plan))
        return plan.done
    with display.sweep(plan.missing):
        if sender is not None and plan.missing:
            open_sender(sender, configs[0])
        runs, problem = train_here(plan, display, sender) if inner is None else train_by(inner, plan, display, sender)
    every = plan.done | runs
    outcomes = {config.identity.key: every[config.identity.key] for config in plan.configs}
    display.summary(list(outcomes.values()))
    bad = [run for run in outcomes.values() if run["status"] != "finished"]
    display.failures(bad)
    if problem:
        left = sum(run["status"] in ("running", "killed") for run in bad)
        raise RunFailed(f"{problem}. {left} of {len(plan.configs)} runs are left; the same command goes on with them.")
    if bad:
        again = "The same command tries again what was interrupted by an error, not what diverged (rerun=true)."
        raise RunFailed(f"{len(bad)} of {len(plan.configs)} runs failed. {again}")
    return outcomes


def train_here(plan: Plan, display: Display, sender: Sender | None) -> tuple[dict[str, Run], str | None]:
    """Stack after stack in this process, then what is faster side by side in processes; also what went wrong there."""
    crew, problem = Crew(display, sender, plan.configs[0].retries, plan.finished, keys_of(plan.to_do)), None
    train_free(crew, plan.resumed)
    with Processes(plan.configs[0].hardware, sum(map(len, plan.groups))) as processes:
        choices = list(zip(plan.groups, ways(plan.groups, processes), strict=True))
        here = [stack for group, choice in choices for stack in stacks(choice.divide(group)[0], choice.size)]
        train_free(crew, here)
        apart = {config.identity.key: config for group, choice in choices for config in choice.divide(group)[1]}
        watch = Watch(folder_of(plan.configs[0]), apart, display, sender)
        if apart:
            problem = processes.train(list(apart.values()), crew.retries, watch)
    return crew.runs | watch.outcomes(), problem


def train_free(crew: Crew, every: Sequence[list[Config]]) -> None:
    """Stack after stack; those that the same sweep trains in another process are waited for at the end."""
    for taken in [crew.train(stack, wait=False) for stack in every]:
        if taken:
            crew.train(taken)


def train_by(inner: Inner, plan: Plan, display: Display, sender: Sender | None) -> tuple[dict[str, Run], str | None]:
    """All stacks as jobs of another launcher, followed by their records; also what went wrong with the launcher."""
    folder = folder_of(plan.configs[0])
    wanted = {config.identity.key: config for config in plan.to_do}
    watch = Watch(folder, wanted, display, sender)
    groups = [(group, inner.size(len(group), choose(group).size)) for group in plan.groups]
    jobs = [*plan.resumed, *(stack for group, size in groups for stack in stacks(group, size))]
    problem = inner.run(jobs, folder, watch.look) if jobs else None
    return watch.outcomes(), problem


def stacks(group: list[Config], size: int) -> Iterator[list[Config]]:
    """A group in stacks of at most so many networks, of equal shape."""
    for part in by_shape(group) if size > 1 else [group]:
        for start in range(0, len(part), size):
            yield part[start : start + size]


def with_data(configs: Sequence[Config]) -> list[Config]:
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


def make_plan(configs: Sequence[Config], display: Display) -> Plan:
    """Leave out what is done, take up checkpoints, group the rest."""
    wanted = {config.identity.key: config for config in configs}
    finished = FinishedRuns(folder_of(configs[0])).look()
    closed = {} if configs[0].rerun else finished.runs
    done = {key: closed[key] for key in wanted if key in closed}
    todo = {key: config for key, config in wanted.items() if key not in done}
    changes = [] if configs[0].rerun else [*finished.left_out(), *finished.changes(todo.values())]
    resumed: list[list[Config]] = []
    groups: dict[str, list[Config]] = {}
    for members in unfinished(todo, display):
        if set(members) & set(todo) and set(members) <= set(todo) | set(done):  # nothing is trained twice
            stack = [wanted[member] for member in members]
            if len(stack) > 1:
                resumed.append(stack)
            else:
                groups[members[0]] = stack
            todo = {key: config for key, config in todo.items() if key not in members}
    for config in todo.values():
        groups.setdefault(config.structure(), []).append(config)
    return Plan(list(wanted.values()), done, resumed, list(groups.values()), finished, changes)


def unfinished(todo: dict[str, Config], display: Display) -> list[list[str]]:
    """Return the members of every checkpoint of use, after setting aside those of other data or other code."""
    configs = list(todo.values())
    if not configs or configs[0].rerun:
        return []
    set_aside_outdated(configs, display.note, only_say=configs[0].plan)
    return unfinished_stacks(configs[0], display.note)


def described(plan: Plan) -> list[tuple[list[Config], str, Choice, float | None]]:
    """The groups, their data, how each would train, and for how many seconds; None where no step was measured."""
    resumed = [(stack, Choice(len(stack), measured(stack, len(stack)))) for stack in plan.resumed]
    with Processes(plan.configs[0].hardware, sum(map(len, plan.groups))) as processes:
        groups = zip(plan.groups, ways(plan.groups, processes, timed=True), strict=True)
    every = [*resumed, *groups]
    return [(group, task_of(group), choice, seconds(group, choice.step_ms)) for group, choice in every]


def task_of(group: Sequence[Config]) -> str:
    """The name that the data set has itself: `cpu_act`, where its source is called `openml`."""
    return load_task(group[0].dataset.text()).name


def seconds(group: Sequence[Config], step_ms: float | None) -> float | None:
    """Of training steps, of all networks of the group."""
    return None if step_ms is None else len(group) * steps(group[0]) * step_ms / 1000
