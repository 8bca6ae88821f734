"""Trains stacks; a stack that fails is tried again in halves, down to the run that is to blame."""

import functools
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from psilon_bench.config.schema import Config
from psilon_bench.errors import RecordsFailed, StackFailed, UsageError
from psilon_bench.records.checkpoint import Checkpoint
from psilon_bench.records.finished import FinishedRuns
from psilon_bench.records.places import sweep_folder
from psilon_bench.records.record import Record
from psilon_bench.records.run_json import RunDict
from psilon_bench.records.run_locks import locked_runs
from psilon_bench.run.display import Display
from psilon_bench.run.run import run as run_stack
from psilon_bench.tracking.sender import Sender


def train_quietly(configs: list[Config]) -> dict[str, RunDict]:
    """Train a stack without display and MLflow, and return run.json of each member by identity.

    For a process whose runs another process follows by their records.
    """
    display = Display(Console(quiet=True))
    with display.sweep(len(configs)):
        finished = finished_in(sweep_folder(configs[0]))
        trainer = RetryingTrainer(display, None, configs[0].retries, finished, identities(configs))
        trainer.train(configs)
    return trainer.runs


@functools.cache
def finished_in(folder: Path) -> FinishedRuns:
    """Return this process's index of a folder, so that its records are not read again for every run."""
    return FinishedRuns(folder)


def identities(configs: Iterable[Config]) -> set[str]:
    """Return the identities of these runs."""
    return {config.identity.key for config in configs}


@dataclass
class Attempt:
    """Runs to train as one stack, with how often they have failed and the records of the attempt before."""

    configs: list[Config]
    failures: int = 0
    records: Sequence[Record] = ()

    def halves(self) -> list["Attempt"]:
        """Return the first and the second half."""
        middle = len(self.configs) // 2
        parts = slice(None, middle), slice(middle, None)
        return [Attempt(self.configs[part], self.failures, self.records[part]) for part in parts]


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

    def train(self, configs: list[Config], wait: bool = True) -> list[Config]:
        """Train a stack and keep the run.json of each member.

        wait: for runs that another process trains. Without it these are returned, to be waited for later.
        """
        left: list[Config] = []
        attempts = deque([Attempt(configs)])
        while attempts:
            attempt = attempts.popleft()
            with locked_runs(attempt.configs, wait, self.display.note) as locked:
                others = [config for config in attempt.configs if config.identity.key not in locked]
                if others and Checkpoint.of(attempt.configs).exists():  # the stack goes on whole
                    left += attempt.configs
                    continue
                left += others
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
        if len(done) < len(attempt.configs) == len(ours) and Checkpoint.of(attempt.configs).exists():
            return attempt
        if len(ours) - len(done) == len(attempt.configs):
            return attempt
        return Attempt([config for config in ours if config.identity.key not in done], attempt.failures)

    def train_once(self, attempt: Attempt) -> list[Attempt]:
        """Train the runs of an attempt, and return what is to be tried again."""
        if not attempt.configs:
            return []
        try:
            finished = run_stack(attempt.configs, self.display, self.sender, attempt.records)
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

    def count_ended(self, keys: Iterable[str]) -> None:
        """Move the bar by those of these runs that it has not counted yet."""
        ended = self.missing & set(keys)
        self.missing -= ended
        if ended:
            self.display.advance(len(ended))

    def after_refusal(self, error: Exception, attempt: Attempt) -> list[Attempt]:
        """Return the halves of a stack that could not be set up; a lone run has failed without a record."""
        if len(attempt.configs) > 1:
            return attempt.halves()
        (config,) = attempt.configs
        reason = str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {error}"
        self.display.failure(config.title, reason)
        self.runs[config.identity.key] = {"status": "failed", "title": config.title, "reason": reason}
        self.count_ended([config.identity.key])
        return []

    def after_failure(self, failure: StackFailed, attempt: Attempt) -> list[Attempt]:
        """Return the halves of a stack that failed (out of memory, say), or a lone run while `retries` allows it."""
        attempt = Attempt(attempt.configs, attempt.failures, failure.records)
        if len(attempt.configs) > 1:
            self.display.failure(f"a stack of {len(attempt.configs)}", f"{failure}; its halves are tried")
            return attempt.halves()
        (config,), (record,) = attempt.configs, failure.records
        if attempt.failures < self.retries:
            self.display.failure(config.title, f"{failure}; tried again")
            return [Attempt(attempt.configs, attempt.failures + 1, failure.records)]
        self.display.failure(config.title, f"{failure}; see {record.folder}")
        self.runs[config.identity.key] = record.run | {"folder": str(record.folder)}
        self.count_ended([config.identity.key])
        return []
