"""A sweep: what is done is skipped, what is missing trains in stacks, what fails does not end the rest."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from psilon_bench.checkpoint import unfinished_stacks
from psilon_bench.config import Config
from psilon_bench.display import Display
from psilon_bench.errors import RunFailed, StackFailed, UsageError
from psilon_bench.inner import Inner
from psilon_bench.record import Record, is_closed
from psilon_bench.runner import open_sender
from psilon_bench.runner import run as run_stack
from psilon_bench.sender import Sender, sending
from psilon_bench.stacking import Choice, by_shape, choose, measured
from psilon_bench.tracking import read_run
from psilon_bench.watch import Watch

Run = dict[str, Any]  # run.json


@dataclass
class Plan:
    """The runs of a sweep: those done (by fingerprint), and the groups that are to train."""

    configs: list[Config]
    done: dict[str, Run]
    resumed: list[list[Config]]  # stacks with a checkpoint, whole
    groups: list[list[Config]]  # the others, by structure; each is cut into stacks when its turn comes

    @property
    def missing(self) -> int:
        """Runs that are to train."""
        return len(self.configs) - sum(config.fingerprint() in self.done for config in self.configs)


def run(configs: Sequence[Config], inner: Inner | None = None) -> dict[str, Run]:
    """Train what is missing of these runs, here or by an inner launcher; run.json of each by fingerprint.

    RunFailed at the end where any run failed or diverged. With plan=true only shows what would be done.
    """
    display = Display()
    plan = make_plan(configs)
    display.plan(len(plan.configs), len(plan.configs) - plan.missing, first_folder(configs))
    if configs[0].plan:
        display.groups([describe(group) for group in [*plan.resumed, *plan.groups]])
        return plan.done
    with sending(configs[0].tracking.name == "mlflow") as sender, display.sweep(plan.missing):
        if sender is not None and plan.missing:
            open_sender(sender, configs[0])
        runs, problem = train_here(plan, display, sender) if inner is None else train_by(inner, plan, display, sender)
    every = plan.done | runs
    outcomes = {config.fingerprint(): every[config.fingerprint()] for config in plan.configs}
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


def train_here(plan: Plan, display: Display, sender: Sender | None) -> tuple[dict[str, Run], None]:
    """Stack after stack in this process."""
    crew = Crew(display, sender, plan.configs[0].retries)
    for stack in stacks(plan):
        crew.train(stack)
    return crew.runs, None


def train_by(inner: Inner, plan: Plan, display: Display, sender: Sender | None) -> tuple[dict[str, Run], str | None]:
    """All stacks as jobs of another launcher, followed by their records; also what went wrong with the launcher."""
    folder = first_folder(plan.configs)
    wanted = {config.fingerprint(): config for config in plan.configs if config.fingerprint() not in plan.done}
    watch = Watch(folder, wanted, display, sender)
    jobs = list(stacks(plan, inner.size))
    problem = inner.run(jobs, folder, watch.look) if jobs else None
    return watch.outcomes(), problem


def stacks(plan: Plan, limit: Callable[[int, int], int] = lambda runs, size: size) -> Iterator[list[Config]]:
    """Those with a checkpoint first, then the groups in pieces: limit(runs, size as planned) networks at most."""
    yield from plan.resumed
    for group in plan.groups:
        for part in by_shape(group):
            yield from pieces(part, limit(len(part), choose(part).size))


def make_plan(configs: Sequence[Config]) -> Plan:
    """Leave out what is done, take up checkpoints, group the rest."""
    wanted = {config.fingerprint(): config for config in configs}
    closed = {} if configs[0].rerun else closed_runs(first_folder(configs))
    done = {fingerprint: closed[fingerprint] for fingerprint in wanted if fingerprint in closed}
    todo = {fingerprint: config for fingerprint, config in wanted.items() if fingerprint not in done}
    resumed = []
    for members in unfinished_stacks(configs[0]) if not configs[0].rerun else []:
        if set(members) & set(todo) and set(members) <= set(todo) | set(done):  # nothing is trained twice
            resumed.append([wanted[member] for member in members])
            todo = {fingerprint: config for fingerprint, config in todo.items() if fingerprint not in members}
    groups: dict[str, list[Config]] = {}
    for config in todo.values():
        groups.setdefault(config.structure(), []).append(config)
    return Plan(list(wanted.values()), done, resumed, list(groups.values()))


def closed_runs(folder: Path) -> dict[str, Run]:
    """run.json, by fingerprint, of every run in this folder that has ended for good; the latest where several have."""
    runs = ((path.parent, read_run(path.parent)) for path in sorted(folder.glob("*/run.json")))
    closed = [run | {"folder": str(record)} for record, run in runs if run is not None and is_closed(run)]
    return {run["fingerprint"]: run for run in closed}


def first_folder(configs: Sequence[Config]) -> Path:
    """Where the records of the sweep lie."""
    return Path(configs[0].results_dir, configs[0].name).absolute()


def pieces(configs: list[Config], size: int) -> Iterator[list[Config]]:
    """Stacks of at most so many."""
    for start in range(0, len(configs), size):
        yield configs[start : start + size]


def describe(group: list[Config]) -> tuple[list[Config], Choice]:
    """A group, how it would train, and how long a step would take."""
    choice = choose(group)
    return group, choice if choice.step_ms is not None else replace(choice, step_ms=measured(group, choice.size))


@dataclass
class Crew:
    """Trains stacks; a stack that fails is tried again in halves, down to the run that is to blame."""

    display: Display
    sender: Sender | None
    retries: int
    runs: dict[str, Run] = field(default_factory=dict)

    def train(self, configs: list[Config], tries: int = 0, records: Sequence[Record] = ()) -> None:
        """Train a stack and keep the run.json of each member."""
        try:
            finished = run_stack(configs, self.display, self.sender, in_sweep=True, records=records)
        except StackFailed as failure:
            self.after(failure, configs, tries)
        except Exception as error:  # before there were records
            self.refused(error, configs)
        else:
            for config, record in zip(configs, finished, strict=True):
                self.runs[config.fingerprint()] = record.run | {"folder": str(record.folder)}
            self.display.advance(len(configs))

    def refused(self, error: Exception, configs: list[Config]) -> None:
        """Halves of a stack that could not be set up; a lone run has failed without a record."""
        if len(configs) > 1:
            middle = len(configs) // 2
            self.train(configs[:middle])
            self.train(configs[middle:])
            return
        reason = str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {error}"
        self.display.failure(configs[0].title, reason)
        self.runs[configs[0].fingerprint()] = {"status": "failed", "title": configs[0].title, "reason": reason}
        self.display.advance(1)

    def after(self, failure: StackFailed, configs: list[Config], tries: int) -> None:
        """Halves of a stack (also out of memory); a lone run again as often as `retries` says, then it has failed."""
        records = failure.records
        if len(configs) > 1:
            self.display.failure(f"a stack of {len(configs)}", f"{failure}; its halves are tried")
            middle = len(configs) // 2
            self.train(configs[:middle], tries, records[:middle])
            self.train(configs[middle:], tries, records[middle:])
        elif tries < self.retries:
            self.display.failure(configs[0].title, f"{failure}; tried again")
            self.train(configs, tries + 1, records)
        else:
            run = records[0].run | {"folder": str(records[0].folder)}
            self.display.failure(configs[0].title, f"{failure}; see {records[0].folder}")
            self.runs[configs[0].fingerprint()] = run
            self.display.advance(1)
