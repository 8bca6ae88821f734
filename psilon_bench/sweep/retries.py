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
from psilon_bench.records.claims import claimed
from psilon_bench.records.finished import FinishedRuns, folder_of
from psilon_bench.records.record import Record, Run
from psilon_bench.run.display import Display
from psilon_bench.run.run import run as run_stack
from psilon_bench.tracking.sender import Sender


def train_quietly(configs: list[Config]) -> dict[str, Run]:
    """In a process that is followed by its records: no display, no MLflow. run.json of each member by identity."""
    display = Display(Console(quiet=True))
    with display.sweep(len(configs)):
        crew = Crew(display, None, configs[0].retries, finished_in(folder_of(configs[0])), keys_of(configs))
        crew.train(configs)
    return crew.runs


@functools.cache
def finished_in(folder: Path) -> FinishedRuns:
    """Return this process's index of a folder, so that its records are not read again for every run."""
    return FinishedRuns(folder)


def keys_of(configs: Iterable[Config]) -> set[str]:
    """Return the identities of these runs."""
    return {config.identity.key for config in configs}


@dataclass
class Try:
    """Runs to train as one stack: how often they have failed, and the records of the try before."""

    configs: list[Config]
    failures: int = 0
    records: Sequence[Record] = ()

    def halves(self) -> list["Try"]:
        """The first and the second half."""
        middle = len(self.configs) // 2
        parts = slice(None, middle), slice(middle, None)
        return [Try(self.configs[part], self.failures, self.records[part]) for part in parts]


@dataclass
class Crew:
    """Keeps the run.json of every run by identity. A run is trained by one process at a time, and once."""

    display: Display
    sender: Sender | None
    retries: int
    finished: FinishedRuns
    missing: set[str]  # the runs (identities) that the bar is about and that have not ended
    runs: dict[str, Run] = field(default_factory=dict)

    def train(self, configs: list[Config], wait: bool = True) -> list[Config]:
        """Train a stack and keep the run.json of each member.

        wait: for runs that another process trains. Without it these are returned, to be waited for later.
        """
        left: list[Config] = []
        tries = deque([Try(configs)])
        while tries:
            attempt = tries.popleft()
            with claimed(attempt.configs, wait, self.display.note) as mine:
                others = [config for config in attempt.configs if config.identity.key not in mine]
                if others and Checkpoint.of(attempt.configs).exists():  # the stack goes on whole
                    left += attempt.configs
                    continue
                left += others
                again = self.attempt(self.without_finished(attempt, mine))
            tries.extendleft(reversed(again))
        return left

    def without_finished(self, attempt: Try, mine: set[str]) -> Try:
        """Return those of a try that are ours and that no other process has ended in the meantime.

        A stack with a checkpoint goes on whole: members that have ended keep their records.
        """
        own = [config for config in attempt.configs if config.identity.key in mine]
        known = {} if own and own[0].rerun else self.finished.look().runs
        done = {key: known[key] for config in own if (key := config.identity.key) in known}
        self.runs |= done
        self.over(done)
        if len(done) < len(attempt.configs) == len(own) and Checkpoint.of(attempt.configs).exists():
            return attempt
        if len(own) - len(done) == len(attempt.configs):
            return attempt
        return Try([config for config in own if config.identity.key not in done], attempt.failures)

    def attempt(self, attempt: Try) -> list[Try]:
        """Train; what is to be tried again."""
        if not attempt.configs:
            return []
        try:
            finished = run_stack(attempt.configs, self.display, self.sender, attempt.records)
        except RecordsFailed:
            raise
        except StackFailed as failure:
            return self.after(failure, attempt)
        except Exception as error:  # before there were records
            return self.refused(error, attempt)
        for config, record in zip(attempt.configs, finished, strict=True):
            self.runs[config.identity.key] = record.run | {"folder": str(record.folder)}
        self.over(keys_of(attempt.configs))
        return []

    def over(self, keys: Iterable[str]) -> None:
        """Move the bar by those of these runs that it has not counted yet."""
        ended = self.missing & set(keys)
        self.missing -= ended
        if ended:
            self.display.advance(len(ended))

    def refused(self, error: Exception, attempt: Try) -> list[Try]:
        """Halves of a stack that could not be set up; a lone run has failed without a record."""
        if len(attempt.configs) > 1:
            return attempt.halves()
        (config,) = attempt.configs
        reason = str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {error}"
        self.display.failure(config.title, reason)
        self.runs[config.identity.key] = {"status": "failed", "title": config.title, "reason": reason}
        self.over([config.identity.key])
        return []

    def after(self, failure: StackFailed, attempt: Try) -> list[Try]:
        """Halves of a stack (also out of memory); a lone run again as often as `retries` says, then it has failed."""
        attempt = Try(attempt.configs, attempt.failures, failure.records)
        if len(attempt.configs) > 1:
            self.display.failure(f"a stack of {len(attempt.configs)}", f"{failure}; its halves are tried")
            return attempt.halves()
        (config,), (record,) = attempt.configs, failure.records
        if attempt.failures < self.retries:
            self.display.failure(config.title, f"{failure}; tried again")
            return [Try(attempt.configs, attempt.failures + 1, failure.records)]
        self.display.failure(config.title, f"{failure}; see {record.folder}")
        self.runs[config.identity.key] = record.run | {"folder": str(record.folder)}
        self.over([config.identity.key])
        return []
