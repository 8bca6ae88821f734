"""Trains stacks; a stack that fails is tried again in halves, down to the run that is to blame."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console

from psilon_bench.config import Config
from psilon_bench.display import Display
from psilon_bench.errors import StackFailed, UsageError
from psilon_bench.record import Record, Run
from psilon_bench.runner import run as run_stack
from psilon_bench.tracking.sender import Sender


def train_quietly(configs: list[Config]) -> dict[str, Run]:
    """In a process that is followed by its records: no display, no MLflow. run.json of each member by fingerprint."""
    display = Display(Console(quiet=True))
    with display.sweep(len(configs)):
        crew = Crew(display, None, configs[0].retries)
        crew.train(configs)
    return crew.runs


@dataclass
class Crew:
    """Keeps the run.json of every run by fingerprint."""

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
