"""A sweep: runs that are done are skipped, the others train in stacks, and one that fails does not end the rest."""

from collections.abc import Iterable, Sequence
from itertools import chain

from psilon_bench.config.schema import Config
from psilon_bench.errors import RunFailed
from psilon_bench.records.finished import FinishedRuns
from psilon_bench.records.places import sweep_folder
from psilon_bench.records.run_json import ENDED_WELL, RunDict
from psilon_bench.run.display import Display
from psilon_bench.run.run import open_sender
from psilon_bench.sweep.attempt import Attempt, identities
from psilon_bench.sweep.following import RecordFollower
from psilon_bench.sweep.other_launchers import OtherLauncher
from psilon_bench.sweep.plan import Plan, make_plan
from psilon_bench.sweep.retries import RetryingTrainer
from psilon_bench.tracking.sender import Sender

Results = tuple[dict[str, RunDict], str | None]  # run.json by identity; what went wrong beyond failures of runs


def run_sweep(configs: Sequence[Config], launcher: OtherLauncher | None, sender: Sender | None) -> dict[str, RunDict]:
    """Train what is missing of these runs, here or by another launcher, and return run.json of each by identity.

    RunFailed at the end where any run failed or diverged. With plan=true only show what would be done.
    """
    display = Display()
    outcomes, problem = train_missing(configs, launcher, sender, display)
    if not configs[0].plan:
        show_outcomes(list(outcomes.values()), problem, display)
    return outcomes


def train_missing(
    configs: Sequence[Config],
    launcher: OtherLauncher | None,
    sender: Sender | None,
    display: Display,
    finished: FinishedRuns | None = None,
) -> Results:
    """Train what is missing of these runs, and return all of them; with plan=true those that are done.

    finished: an index of the sweep's folder, where one is kept from an earlier call.
    """
    plan = make_plan(configs, display, finished)
    for change in plan.changes:
        display.note(change)
    display.plan(len(plan.configs), len(plan.done), plan.begun, sweep_folder(configs[0]))
    if configs[0].plan:
        display.groups(plan.described())
        return plan.done, None
    with display.sweep(len(plan.to_do)):
        if sender is not None and plan.to_do:
            open_sender(sender, configs[0])
        if launcher is None:
            runs, problem = train_here(plan, display, sender)
        else:
            runs, problem = train_by_launcher(launcher, plan, display, sender)
    runs = plan.done | runs
    return {config.identity.key: runs[config.identity.key] for config in plan.configs}, problem


def show_outcomes(runs: Sequence[RunDict], problem: str | None, display: Display) -> None:
    """Show the runs and how they ended; RunFailed where any did not finish."""
    display.summary(runs)
    check_outcomes(runs, problem, display)


def check_outcomes(runs: Sequence[RunDict], problem: str | None, display: Display) -> None:
    """Show what did not end well, and who was raced out; RunFailed where any run did not finish."""
    bad = [run for run in runs if run["status"] not in ENDED_WELL]
    display.failures(bad)
    display.raced_out(runs)
    if problem:
        left = sum(run["status"] in ("running", "killed") for run in bad)
        raise RunFailed(
            f"{problem.rstrip('.')}. {left} of {len(runs)} runs are left; the same command goes on with them."
        )
    if bad:
        again = "The same command tries again what was interrupted by an error, not what diverged (rerun=true)."
        raise RunFailed(f"{len(bad)} of {len(runs)} runs failed. {again}")


def train_here(plan: Plan, display: Display, sender: Sender | None) -> Results:
    """Train stack after stack in this process, then in other processes the stacks that are faster side by side."""
    problem = None
    trainer = RetryingTrainer(display, sender, plan.configs[0].retries, plan.finished, identities(plan.to_do))
    train_stacks(trainer, plan.races)
    with plan.pool() as pool:
        here, in_workers = plan.divided(pool)
        train_stacks(trainer, map(Attempt, here))
        follower = follow(plan, list(chain.from_iterable(in_workers)), display, sender)
        if in_workers:
            problem = pool.train(in_workers, trainer.retries, follower)
    return trainer.runs | follower.outcomes(), problem


def train_stacks(trainer: RetryingTrainer, attempts: Iterable[Attempt]) -> None:
    """Train stack after stack; those that the same sweep trains in another process are waited for at the end."""
    for left in [left for attempt in attempts for left in trainer.train(attempt, wait=False)]:
        trainer.train(left)


def train_by_launcher(launcher: OtherLauncher, plan: Plan, display: Display, sender: Sender | None) -> Results:
    """Train all stacks as jobs of another launcher, followed by their records."""
    follower = follow(plan, plan.to_do, display, sender)
    jobs = plan.jobs(launcher)
    problem = launcher.run(jobs, follower.folder, follower.update) if jobs else None
    return follower.outcomes(), problem


def follow(plan: Plan, configs: Sequence[Config], display: Display, sender: Sender | None) -> RecordFollower:
    """Return a follower of these runs of the plan."""
    wanted = {config.identity.key: config for config in configs}
    return RecordFollower(sweep_folder(plan.configs[0]), wanted, display, sender)
