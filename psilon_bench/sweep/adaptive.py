"""A search: Optuna proposes trials in batches, each batch trains as a grid does, and its values go into the study."""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState
from rich.table import Column

from psilon_bench.config.schema import Config
from psilon_bench.config.signature import nearest
from psilon_bench.errors import RunFailed, UsageError, short
from psilon_bench.records.finished import FinishedRuns
from psilon_bench.records.places import sweep_folder
from psilon_bench.records.run_json import RunDict
from psilon_bench.records.studies import locked_study
from psilon_bench.run.display import Display, number
from psilon_bench.run.printing import folding
from psilon_bench.sweep.composer import Compose, Composer
from psilon_bench.sweep.folding import fold_count, folded_jobs, folds_of, out_of_fold_of, refits_of
from psilon_bench.sweep.grids import Parse
from psilon_bench.sweep.jobs import AtEnd, checked_config, compose_all, no_more, titled
from psilon_bench.sweep.other_launchers import OtherLauncher
from psilon_bench.sweep.refusals import in_job, reason
from psilon_bench.sweep.search_section import SearchSection, checked_section
from psilon_bench.sweep.search_space import SearchSpace, search_space
from psilon_bench.sweep.study import asked_of, next_trials, open_study
from psilon_bench.tracking.sender import Sender, sending, wants_mlflow

if TYPE_CHECKING:
    from psilon_bench.training.member import Member  # imports torch

Batch = Sequence[tuple[Trial, list[str]]]  # trials with their overrides


def search(
    settings: Mapping[str, Any],
    arguments: list[str],
    parse: Parse,
    compose: Compose,
    launcher: OtherLauncher | None,
    at_end: AtEnd = no_more,
) -> list[FrozenTrial]:
    """Search until there are n_trials, and return the best trial, or the Pareto front of several objectives.

    settings: of hydra.sweeper. at_end: is called when all trials are trained and sent. UsageError before the first run
    where any of it is wrong, such as the extremes of the space or an objective that no run records; RunFailed at the
    end where any trial failed.
    """
    section = checked_section(settings)
    space = search_space(section, arguments, parse)
    corners, compose = space.corners(), Composer(compose)
    first = in_job(corners[0], partial(compose, corners[0]))
    folds = fold_count(first)
    if folds is not None:
        check_folded(section, folds)
        corners = folded_jobs(corners, folds, compose)
    plan = bool(OmegaConf.select(first, "plan"))
    with sending(wants_mlflow(first) and not plan) as sender:
        from psilon_bench.sweep.plan import with_checksums  # imports torch, while the sender's process imports MLflow

        configs = with_checksums(compose_all(corners, compose, partial(check_objectives, section)))
        if configs[0].rerun:
            raise UsageError("rerun=true is for grids: a search goes on. For one that begins anew, take another name=.")
        if configs[0].race:
            raise UsageError("race=true is for grids: each trial of a search needs its values. Set race=false.")
        folder, asked = sweep_folder(configs[0]), asked_of(space, section, configs)
        with contextlib.nullcontext() if plan else locked_study(folder):
            study = open_study(folder, asked, in_memory=plan)
            search = Search(study, space, section, compose, launcher, sender, folder, folds, configs[0].cv_refit)
            best = search.plan() if plan else search.run()
    if not plan:
        at_end(configs[0])
    return best


def check_objectives(section: SearchSection, member: "Member") -> None:
    """Raise UsageError for an objective that a run does not record; the refits of cv have no part in the search."""
    from psilon_bench.run.metric_names import metric_names

    if member.config.cv is not None and member.config.dataset.is_refit:
        return

    names = {name for name in metric_names(member) if name != "epoch"}
    for name in section.goals:
        if name not in names:
            what = f"{member.config.model.name} on {member.task.name}"
            raise UsageError(
                f"hydra.sweeper.objectives: {short(name)} is not recorded of {what}.{nearest(name, names)}"
            )


def check_folded(section: SearchSection, folds: int) -> None:
    """Raise UsageError where no trial of a search on folds would be the best."""
    if len(section.goals) > 1:
        raise UsageError(
            f"cv={folds} trains the best trial again on all folds, and {len(section.goals)} objectives have none. "
            "Give hydra.sweeper.objectives one, or set cv=null."
        )


@dataclass
class Search:
    """A search on its way.

    folds: into how many folds the rows are cut, on each of which every trial trains; None without. num_refits: how many
    of the best trials train again on all folds.
    """

    study: Study
    space: SearchSpace
    section: SearchSection
    compose: Composer
    launcher: OtherLauncher | None
    sender: Sender | None
    folder: Path
    folds: int | None
    num_refits: int
    finished: FinishedRuns = field(init=False)

    def __post_init__(self) -> None:
        """Begin an index of the folder, so that no record is read again for every batch."""
        self.finished = FinishedRuns(self.folder)

    def run(self) -> list[FrozenTrial]:
        """Ask, train and tell, batch after batch; RunFailed where any trial failed."""
        while batch := next_trials(self.study, self.space, self.section):
            display = Display()
            runs, problem = self.train(batch, display)
            self.tell(batch, runs, display)
            left = len(self.trials(TrialState.RUNNING))
            if problem or left:
                what = problem.rstrip(".") if problem else "Runs were stopped"
                raise RunFailed(f"{what}. {left} trials are left; the same command goes on with them.")
            display.say(self.best_line(), soft_wrap=True)
        best = self.best()
        self.show_best(best, Display())
        self.refit(Display())
        failed = self.trials(TrialState.FAIL)
        if failed:
            why = failed[0].user_attrs.get("reason", "no reason is known").rstrip(".")
            count = f"{len(failed)} of {len(self.trials())} trials failed"
            raise RunFailed(f"{count}, such as trial {failed[0].number}: {why}. The search went on without them.")
        return best

    def plan(self) -> list[FrozenTrial]:
        """Show the space, the batches, and what the next of them would do."""
        display, done = Display(), len(self.trials(TrialState.COMPLETE, TrialState.FAIL))
        conditions = self.section.conditions or {}
        rows = [(one.key, one.text, conditions.get(one.key, "always")) for one in self.space.parameters]
        display.table(folding("searched", "values", "where"), rows)
        goals = ", ".join(f"{direction} {name}" for name, direction in self.section.goals.items())
        each = len(self.jobs([]))
        runs = f" of {each} runs each" if each > 1 else ""
        told = f"{self.section.n_trials} trials{runs} in batches of {self.section.batch_size}, to {goals}"
        display.say(f"{told}; {done} are done. The next batch:", soft_wrap=True)
        batch = next_trials(self.study, self.space, self.section)
        if batch:
            self.train(batch, display)
        else:
            display.say("nothing is left to do.")
        if self.folds is not None:
            what = "trial trains" if self.num_refits == 1 else f"{self.num_refits} trials train"
            display.say(f"In the end the best {what} again on all {self.folds} folds.", soft_wrap=True)
        return []

    def jobs(self, overrides: list[str]) -> list[list[str]]:
        """Return the overrides of each run of a trial."""
        jobs = self.space.jobs(overrides)
        return jobs if self.folds is None else [fold for job in jobs for fold in folds_of(job, self.folds)]

    def refit(self, display: Display) -> None:
        """Train the best trials again on all folds, and show the runs; RunFailed where any failed."""
        from psilon_bench.sweep.plan import with_checksums
        from psilon_bench.sweep.sweep import show_outcomes, train_missing

        sign = 1 if "minimize" in self.section.goals.values() else -1
        trials = sorted(self.trials(TrialState.COMPLETE), key=lambda trial: sign * trial.values[0])
        if self.folds is None or not trials:
            return
        ranked = [self.space.overrides(lambda parameter: trial.params[parameter.key]) for trial in trials]  # noqa: B023
        kept = list(dict.fromkeys(map(tuple, ranked)))[: self.num_refits]  # trials may have equal values
        jobs = refits_of([job for overrides in kept for job in self.space.jobs([*overrides])], self.folds)
        configs = titled(with_checksums([self.checked(job) for job in jobs]), jobs)
        display.say("The best train again on all rows but those of the test.")
        outcomes, problem = train_missing(configs, self.launcher, self.sender, display, self.finished)
        show_outcomes(list(outcomes.values()), problem, display)

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Return the trials in these states, all of them without states, in the order of their numbers."""
        return self.study.get_trials(deepcopy=False, states=states or None)

    def train(self, batch: Batch, display: Display) -> tuple[dict[int, list[RunDict]], str | None]:
        """Train all runs of a batch as one sweep; return run.json of each by the trial's number, and what went wrong.

        A combination of values that is wrong fails its trial: the extremes alone were checked before.
        """
        from psilon_bench.sweep.plan import with_checksums
        from psilon_bench.sweep.sweep import train_missing

        configs: dict[int, list[Config]] = {}
        refused: dict[int, list[RunDict]] = {}
        for trial, overrides in batch:
            jobs = self.jobs(overrides)
            try:
                configs[trial.number] = [self.checked(job) for job in jobs]
            except UsageError as error:
                refused[trial.number] = [{"status": "failed", "reason": str(error)}]
        every = with_checksums([config for own in configs.values() for config in own])
        every = titled(every, [job for trial, one in batch if trial.number in configs for job in self.jobs(one)])
        outcomes, problem = (
            train_missing(every, self.launcher, self.sender, display, self.finished) if every else ({}, None)
        )
        found = iter(outcomes.get(config.identity.key, {}) for config in every)
        return refused | {key: [next(found) for _ in own] for key, own in configs.items()}, problem

    def checked(self, job: list[str]) -> Config:
        """Return the configuration of a job with a network that can be built; UsageError where it is wrong."""
        from psilon_bench.run.checks import prepare

        try:
            config = checked_config(job, self.compose)
            prepare(config)
        except Exception as error:
            line = reason(error, job)
            if line is None:
                raise
            raise UsageError(line) from error
        return config

    def tell(self, batch: Batch, runs: Mapping[int, list[RunDict]], display: Display) -> None:
        """Put the values of a batch into the study; a trial with a run that was stopped is left for the next time.

        A trial with a run that failed has no value, and Optuna's samplers leave it out.
        """
        for trial, _ in batch:
            of_trial = runs[trial.number]
            if any(run["status"] in ("running", "killed") for run in of_trial):
                continue
            values, failure = trial_values(of_trial, self.section.goals, self.folds is not None)
            trial.set_user_attr("runs", [Path(run["folder"]).name for run in of_trial if "folder" in run])
            if failure is None:
                self.study.tell(trial, values)
            else:
                trial.set_user_attr("reason", failure)
                display.failure(f"trial {trial.number}: {trial_text(trial)}", failure)
                self.study.tell(trial, state=TrialState.FAIL)

    def best_line(self) -> str:
        """Return a line that says how far the search is and what is best so far."""
        failed = len(self.trials(TrialState.FAIL))
        told = f"{len(self.trials())} of {self.section.n_trials} trials" + (f", {failed} failed" if failed else "")
        best = self.best()
        if not best:
            return f"{told}; none has a value yet"
        if len(self.section.goals) > 1:
            return f"{told}; {len(best)} on the Pareto front of {', '.join(self.section.goals)}"
        (name,) = self.section.goals
        return f"{told}; best {name} {number(best[0].values[0])} in trial {best[0].number}: {trial_text(best[0])}"

    def best(self) -> list[FrozenTrial]:
        """Return the best trial, the first of equal ones, or all on the Pareto front of several objectives."""
        front = self.study.best_trials
        return front if len(self.section.goals) > 1 else front[:1]

    def show_best(self, best: Iterable[FrozenTrial], display: Display) -> None:
        """Show the best trial, or all on the Pareto front, sorted by the first objective."""
        columns = [Column("trial"), *(Column(name, justify="right") for name in self.section.goals), *folding("values")]
        rows = [
            (str(trial.number), *map(number, trial.values), trial_text(trial))
            for trial in sorted(best, key=lambda trial: trial.values)
        ]
        if rows:
            display.table(columns, rows)


def trial_text(trial: FrozenTrial | Trial) -> str:
    """Return the values of a trial in brief, as overrides."""
    texts = {key: f"{value:.4g}" if isinstance(value, float) else value for key, value in trial.params.items()}
    return " ".join(f"{key}={text}" for key, text in texts.items())


def trial_values(runs: Sequence[RunDict], goals: Iterable[str], on_folds: bool) -> tuple[list[float], str | None]:
    """Return the mean over runs of each objective, on folds its out-of-fold value; a reason where there is none."""
    bad = next((run for run in runs if run["status"] != "finished"), None)
    if bad is not None:
        return [], str(bad["reason"])
    missing = next((name for name in goals if not all(name in run["metrics"] for run in runs)), None)
    if missing is not None:
        return [], f"{missing} is not a finite number"
    if on_folds:
        return [out_of_fold_of(runs, name).mean for name in goals], None
    return [fmean(run["metrics"][name] for run in runs) for name in goals], None
