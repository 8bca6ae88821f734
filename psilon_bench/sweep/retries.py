"""Trains stacks; a stack that fails is tried again in halves, down to the run that is to blame."""

import functools
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from psilon_bench.config.schema import Config
from psilon_bench.errors import RecordsFailed, StackFailed, UsageError
from psilon_bench.records.finished import FinishedRuns
from psilon_bench.records.history import read_rows
from psilon_bench.records.places import HISTORY, sweep_folder
from psilon_bench.records.run_json import RunDict
from psilon_bench.records.run_locks import locked_runs
from psilon_bench.run.checks import prepare
from psilon_bench.run.display import Display
from psilon_bench.run.run import run as run_stack
from psilon_bench.sweep.attempt import Attempt, identities
from psilon_bench.tracking.sender import Sender
from psilon_bench.training.race import Race
from psilon_bench.training.rungs import Rival


def train_quietly(attempt: Attempt, wait: bool = True) -> dict[str, RunDict]:
    """Train a stack or a race without display and MLflow, and return run.json of each run by identity.

    For a process whose runs another process follows by their records. wait: for runs that another sweep trains; without
    it these are missing in what is returned.
    """
    display = Display(Console(quiet=True))
    configs = attempt.configs
    with display.sweep(len(configs)):
        finished = finished_in(sweep_folder(configs[0]), configs[0].settings_kept)
        trainer = RetryingTrainer(display, None, configs[0].retries, finished, identities(configs))
        trainer.train(attempt, wait)
    return trainer.runs


@functools.cache
def finished_in(folder: Path, settings_kept: int | None) -> FinishedRuns:
    """Return this process's index of a folder, so that its records are not read again for every run."""
    return FinishedRuns(folder, settings_kept)


@dataclass
class RetryingTrainer:
    """Trains stacks, again where they fail, and keeps run.json of every run by identity.

    Of all processes one at a time trains a run, and a run that another process has ended is not trained again.
    """

    display: Display
    sender: Sender | None
    retries: int
    finished: FinishedRuns
    missing: set[str]  # the runs (identities) that the bar is about and that have not ended
    runs: dict[str, RunDict] = field(default_factory=dict)

    def train(self, first: Attempt, wait: bool = True) -> list[Attempt]:
        """Train a stack or a race, and keep the run.json of each run.

        wait: for runs that another process trains. Without it these are returned, to be waited for later.
        """
        left: list[Attempt] = []
        attempts = deque([first])
        while attempts:
            attempt = attempts.popleft()
            with locked_runs(attempt.configs, wait, self.display.note) as locked:
                others = identities(attempt.configs) - locked
                if others and attempt.checkpoint.exists():  # the stack goes on whole
                    left.append(attempt)
                    continue
                if others:
                    left.append(attempt.only(others))
                again = self.train_once(self.without_finished(attempt, locked))
            attempts.extendleft(reversed(again))
        return left

    def without_finished(self, attempt: Attempt, locked: set[str]) -> Attempt:
        """Return the runs of an attempt that this process has locked and that no other has ended in the meantime.

        A stack with a checkpoint goes on whole: members that have ended keep their records.
        """
        ours = [config for config in attempt.configs if config.identity.key in locked]
        known = {} if ours and ours[0].rerun else self.finished.refresh().runs
        done = {key: known[key] for config in ours if (key := config.identity.key) in known}
        self.runs |= done
        self.count_ended(done)
        if len(done) < len(attempt.configs) == len(ours) and attempt.checkpoint.exists():
            return attempt
        if len(ours) - len(done) == len(attempt.configs):
            return attempt
        return replace(attempt.only(locked - set(done)), records=())

    def train_once(self, attempt: Attempt) -> list[Attempt]:
        """Train the runs of an attempt, and return what is to be tried again."""
        if not attempt.configs:
            return []
        try:
            race = Race(tuple(attempt.heats), self.rivals(attempt)) if attempt.heats else None
            finished = run_stack(attempt.configs, self.display, self.sender, attempt.records, race)
        except RecordsFailed:
            raise
        except StackFailed as failure:
            return self.after_failure(failure, attempt)
        except Exception as error:  # before there were records
            return self.after_refusal(error, attempt)
        for config, record in zip(attempt.configs, finished, strict=True):
            self.runs[config.identity.key] = record.run | {"folder": str(record.folder)}
        self.count_ended(identities(attempt.configs))
        return []

    def rivals(self, attempt: Attempt) -> tuple[Rival, ...]:
        """Return the runs of a race that have ended, with the histories in their records."""
        entrants = [] if attempt.configs[0].rerun else attempt.entrants
        ours, ended = identities(attempt.configs), self.finished.refresh().runs
        done = [(config, ended[key]) for config in entrants if (key := config.identity.key) in ended.keys() - ours]
        return tuple(
            Rival.of(config, run["status"] == "finished", read_rows(Path(run["folder"], HISTORY)))
            for config, run in done
        )

    def count_ended(self, keys: Iterable[str]) -> None:
        """Move the bar by those of these runs that it has not counted yet."""
        ended = self.missing & set(keys)
        self.missing -= ended
        if ended:
            self.display.advance(len(ended))

    def after_refusal(self, error: Exception, attempt: Attempt) -> list[Attempt]:
        """Return the halves of a stack that could not be set up; a lone run has failed without a record.

        A race is tried with its runs one by one, then without those that cannot be prepared.
        """
        if attempt.heats:
            if max(attempt.heats) > 1:
                return [attempt.one_by_one()]
            reasons = {config.identity.key: refusal(config) for config in attempt.configs}
            fit = {key for key, reason in reasons.items() if reason is None}
            alike = len(fit) == len(reasons)  # then it is the race as a whole that cannot be set up
            for config in attempt.configs:
                if alike or config.identity.key not in fit:
                    self.refuse(config, reasons[config.identity.key] or error)
            return [attempt.only(fit)] if fit and not alike else []
        if len(attempt.configs) > 1:
            return attempt.halves(())
        self.refuse(attempt.configs[0], error)
        return []

    def refuse(self, config: Config, error: Exception) -> None:
        """Count a run that cannot be set up as failed, without a record."""
        reason = str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {error}"
        self.display.failure(config.title, reason)
        self.runs[config.identity.key] = {"status": "failed", "title": config.title, "reason": reason}
        self.count_ended([config.identity.key])

    def after_failure(self, failure: StackFailed, attempt: Attempt) -> list[Attempt]:
        """Return the halves of a stack that failed (out of memory, say), or a lone run while `retries` allows it.

        A race begins anew, with the heat that failed in halves, or in the end without the run that is to blame.
        """
        attempt = replace(attempt, records=failure.records)
        if len(failure.at_work) > 1:
            self.display.failure(f"a {attempt.kind} of {len(failure.at_work)}", f"{failure}; its halves are tried")
            attempt.forget()
            return attempt.halves(failure.at_work)
        (place,) = failure.at_work
        config, record = attempt.configs[place], failure.records[place]
        if attempt.failures < self.retries:
            self.display.failure(config.title, f"{failure}; tried again")
            return [replace(attempt, failures=attempt.failures + 1)]
        self.display.failure(config.title, f"{failure}; see {record.folder}")
        self.runs[config.identity.key] = record.run | {"folder": str(record.folder)}
        self.count_ended([config.identity.key])
        attempt.forget()
        return attempt.without(place)


def refusal(config: Config) -> Exception | None:
    """Return why a run cannot be prepared; None where it can."""
    try:
        prepare(config)
    except Exception as error:
        return error
    return None
