"""What a person sees of a run: a progress bar with ETA on a terminal, plain lines elsewhere, the result as a table."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from psilon_bench.config import Config
from psilon_bench.record import Record

RESULT = (
    "test/accuracy",
    "test/loss",
    "val/accuracy",
    "val/loss",
    "train/loss",
    "path_norm",
    "lipschitz_bound",
    "near_sparsity",
    "weight_sparsity",
    "num_parameters",
    "num_nonzero",
    "time/fit_s",
    "time/step_ms",
)
SUMMARY = ("val/loss", "test/loss", "test/accuracy", "path_norm", "near_sparsity", "time/fit_s")
LINES = 10  # plain progress lines of a run,
QUIET_S = 60.0  # or one after so long


class Display:
    """Progress of the stack that trains now, and the results."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self.rows: dict[int, dict[str, float]] = {}

    def say(self, *what: Any, **how: Any) -> None:
        """Print; a reader who has gone (`| head`) stops the talk, not the run."""
        try:
            self.console.print(*what, **how)
        except BrokenPipeError:
            self.console.quiet = True

    @contextmanager
    def training(self, configs: Sequence[Config]) -> Iterator[None]:
        """Around the training of a stack."""
        self.rows, self.epochs = {}, configs[0].trainer.epochs
        self.started = self.told = time.perf_counter()
        self.title = configs[0].title if len(configs) == 1 else f"{len(configs)} networks"
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("epochs  val/loss {task.fields[val_loss]}"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
        )
        self.bar = self.progress.add_task(self.title, total=self.epochs, val_loss="-")
        with self.progress:
            yield

    def row(self, index: int, row: dict[str, float]) -> None:
        """A new row of a member's history."""
        self.rows[index] = row
        losses = [own["val/loss"] for own in self.rows.values()]
        self.progress.update(self.bar, val_loss=f"{min(losses):.4f}")

    def epoch(self, epoch: int) -> None:
        """An epoch is over."""
        self.progress.update(self.bar, completed=epoch)
        now = time.perf_counter()
        due = epoch % max(1, self.epochs // LINES) == 0 or now - self.told > QUIET_S
        if self.console.is_terminal or not due:
            return
        self.told = now
        left = (now - self.started) * (self.epochs / epoch - 1)
        losses = "".join(f"  {key} {self.rows[0][key]:.4f}" for key in ("train/loss", "val/loss") if 0 in self.rows)
        self.say(f"{self.title}: epoch {epoch}/{self.epochs}{losses}  ETA {left:.0f} s", soft_wrap=True)

    def result(self, record: Record) -> None:
        """The finished run as a table, and where its record is."""
        run = record.run
        self.say(f"{run['title']} on {run['task']['name']}", style="bold")
        table = Table()
        table.add_column("metric")
        table.add_column("value", justify="right")
        for name in RESULT:
            if name in run["metrics"]:
                table.add_row(name, number(run["metrics"][name]))
        self.say(table)
        self.say(f"{run['status']}: {shortest(record.folder)}", soft_wrap=True)

    def failure(self, what: str, reason: str) -> None:
        """A run of a sweep did not end well."""
        self.say(f"failed: {what}: {reason}", style="red", soft_wrap=True)

    def summary(self, records: Sequence[Record]) -> None:
        """The finished runs of a sweep, one row each."""
        table = Table()
        table.add_column("run")
        names = [name for name in SUMMARY if any(name in record.run["metrics"] for record in records)]
        for name in names:
            table.add_column(name, justify="right")
        for record in records:
            values = record.run["metrics"]
            table.add_row(record.run["title"], *(number(values[name]) if name in values else "" for name in names))
        self.say(table)


def number(value: float) -> str:
    """Four significant digits, counts in full."""
    return f"{value:,.0f}" if value == int(value) and abs(value) >= 10 else f"{value:.4g}"


def shortest(folder: Path) -> Path:
    """Relative to the working folder where that is shorter."""
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
