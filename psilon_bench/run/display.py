"""What a terminal shows of a run: a progress bar with ETA (elsewhere plain lines), and the result as a table."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Column
from rich.text import Text

from psilon_bench.config.schema import Config
from psilon_bench.records.record import Record
from psilon_bench.records.run_json import ENDED_WELL
from psilon_bench.run.printing import Range, folding, laid_out, plain_console, progress_columns

RESULT = (
    "test/accuracy",
    "test/roc_auc",
    "test/ece",
    "test/rmse",
    "test/mae",
    "test/r2",
    "test/loss",
    "temperature",
    "test/calibrated_loss",
    "test/calibrated_ece",
    "test/coverage",
    "test/interval_width",
    "test/set_size",
    "test/error",
    "test/support",
    "val/accuracy",
    "val/loss",
    "train/loss",
    "path_norm",
    "lipschitz_bound",
    "lipschitz_local",
    "near_sparsity",
    "weight_sparsity",
    "unit_sparsity",
    "num_parameters",
    "num_nonzero",
    "time/fit_s",
    "time/step_ms",
)
IN_TARGET_UNITS = ("test/rmse", "test/mae", "test/interval_width")
SUMMARY = ("val/loss", "test/loss", "test/accuracy")
SUMMARY_ROWS = 60
NAMES_OF_DATA = ("dataset.task_id=", "dataset.data_id=", "dataset.path=")
LINES = 10  # plain progress lines of a run,
QUIET_S = 30.0  # or one after so long


class Display:
    """Shows the progress of the stack that trains now, and the results."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or plain_console()
        self.rows: dict[int, dict[str, float]] = {}
        self.sweep_bar: TaskID | None = None
        self.progress = Progress(
            *progress_columns(self.console.width),
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
        )

    def say(self, *what: Any, **how: Any) -> None:
        """Print; a reader who has gone (`| head`) stops the talk, not the run."""
        try:
            self.console.print(*what, **how)
        except BrokenPipeError:
            self.console.quiet = True

    def note(self, text: str) -> None:
        """Say what is worth knowing; in a process without a display of its own on stderr."""
        if self.console.quiet:
            print(f"note: {text}", file=sys.stderr)
        else:
            self.say(f"note: {text}", soft_wrap=True)

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
        """Print a table, or what takes its place on a narrow terminal."""
        found = laid_out(self.console, columns, rows)
        self.say(found, soft_wrap=isinstance(found, Text))

    @contextmanager
    def training(self, configs: Sequence[Config], epochs: int) -> Iterator[None]:
        """Show the progress of a training of so many epochs, within.

        More than a run has are those of all heats of a race, which say little: there it is the percentage.
        """
        self.rows, self.epochs = {}, epochs
        is_race = epochs > max(config.trainer.all_epochs for config in configs)
        self.counted, self.count = ("% of the race", 100) if is_race else ("epochs", epochs)
        self.started = self.told = time.perf_counter()
        self.networks = len(configs)
        self.title = configs[0].title if len(configs) == 1 else f"{len(configs)} networks"
        with self.shown(self.title, self.count, self.counted) as self.bar:
            yield

    @contextmanager
    def testing(self, runs: int, rows: int) -> Iterator[Callable[[], None]]:
        """Show how many runs are tested, within: certificates and attacks may take longer than the training.

        What it gives is to be called after each of them.
        """
        with self.shown("tests", runs, f"networks on {rows:,} rows") as bar:
            yield lambda: self.progress.advance(bar)

    @contextmanager
    def shown(self, title: str, total: int, what: str) -> Iterator[TaskID]:
        """Show a bar, within."""
        bar = self.progress.add_task(title, total=total, what=what)
        try:
            with contextlib.nullcontext() if self.progress.live.is_started else self.progress:
                yield bar
        finally:
            self.progress.remove_task(bar)

    def row(self, index: int, row: dict[str, float]) -> None:
        """Show the lowest validation loss (of refits training loss), with this new row of a member's history."""
        self.rows[index] = row
        shown = "val/loss" if "val/loss" in row else "train/loss"
        lowest = min(latest[shown] for latest in self.rows.values())
        self.progress.update(self.bar, what=f"{self.counted}  {shown} {lowest:.4f}")

    def epoch(self, epoch: int) -> None:
        """Show that an epoch is over."""
        done = self.count * epoch // self.epochs
        self.progress.update(self.bar, completed=done)
        if self.sweep_bar is not None:
            self.progress.update(self.sweep_bar, completed=self.finished + self.networks * epoch / self.epochs)
        now = time.perf_counter()
        tenth = epoch % max(1, self.epochs // LINES) == 0 and self.sweep_bar is None
        due = tenth or now - self.told > QUIET_S
        if self.console.is_terminal or not due:
            return
        self.told = now
        left = (now - self.started) * (self.epochs / epoch - 1)
        first = self.rows.get(0, {})
        losses = "".join(f"  {key} {first[key]:.4f}" for key in ("train/loss", "val/loss") if key in first)
        so_far = f"epoch {done}/{self.count}" if self.counted == "epochs" else f"{done} {self.counted}"
        self.say(f"{self.title}: {so_far}{losses}  ETA {left:.0f} s", soft_wrap=True)

    def result(self, record: Record, functions: Sequence[str] = ()) -> None:
        """Show the finished run, and where its record is; functions: metrics of your own, as module.function."""
        run = record.run
        self.say(f"{run['title']} on {run['task']['name']}", style="bold", soft_wrap=True)
        for note in run["task"]["notes"]:
            self.say(f"note: {note}", soft_wrap=True)
        own = [split + name.rpartition(".")[2] for name in functions for split in ("test/", "val/", "")]
        self.table(*result_table(run, (*RESULT, *own)))
        self.say(f"{run['status']}: {shortest(record.folder)}", soft_wrap=True)

    @contextmanager
    def sweep(self, runs: int) -> Iterator[None]:
        """Show one bar over the runs of a sweep, within."""
        self.total, self.finished, self.sweep_started = runs, 0, time.perf_counter()
        self.told, self.elsewhere = self.sweep_started, 0.0
        with self.progress:
            self.sweep_bar = self.progress.add_task("sweep", total=runs, what="runs")
            yield

    def advance(self, runs: int) -> None:
        """Show that so many more runs of the sweep have ended; a negative number is of runs that are tried again."""
        self.finished += runs
        self.update_sweep(max(0.0, self.elsewhere - max(0, runs)), tell=runs > 0)

    def under_way(self, runs: float) -> None:
        """Show how far those runs are that train in other processes: their shares of the epochs, added up."""
        self.update_sweep(runs, tell=runs > 0 and time.perf_counter() - self.told > QUIET_S)

    def update_sweep(self, elsewhere: float, tell: bool) -> None:
        """Show how many runs have ended, with the shares of those elsewhere; tell: in a line, and how long is left."""
        assert self.sweep_bar is not None
        self.elsewhere = elsewhere
        done = self.finished + elsewhere
        self.progress.update(self.sweep_bar, completed=done)
        if self.console.is_terminal or not tell:
            return
        self.told = time.perf_counter()
        share = f", {100 * done / self.total:.0f} % of the epochs" if elsewhere else ""
        left = (self.told - self.sweep_started) * (self.total / done - 1)
        self.say(f"sweep: {self.finished}/{self.total} runs{share}  ETA {left:.0f} s", soft_wrap=True)

    def plan(self, runs: int, done: int, begun: int, folder: Path) -> None:
        """Show how many runs a sweep has to do, and how many of these go on from a checkpoint."""
        rest = "nothing is left to do" if runs == done else f"{runs - done} to do"
        rest += f", {begun} of them from a checkpoint" if begun else ""
        self.say(f"{done} of {runs} runs are done in {shortest(folder)}, {rest}.", soft_wrap=True)

    def groups(self, groups: Sequence[tuple[list[Config], str, Any, Range | None]]) -> None:
        """Show how the groups of a sweep would train, on which data, and how long; None: not measured."""
        rows = []
        for configs, task, choice, seconds in groups:
            step = "not measured" if choice.step_ms is None else f"{choice.step_ms:.2f}"
            took = "-" if seconds is None else f"{seconds} s"
            rows.append((f"{shared(configs)} on {task}", str(len(configs)), str(choice), step, took))
        self.table(folding("networks", "runs", "how", "ms/step each", "estimate"), rows)
        unknown = sum(len(configs) for configs, _, _, seconds in groups if seconds is None)
        rest = f" but for {unknown} runs that were not measured" if unknown else ""
        total = sum((seconds for _, _, _, seconds in groups if seconds is not None), Range(0.0, 0.0, 0.0))
        self.say(f"{total} s of training steps in all{rest}; nothing was started.", soft_wrap=True)

    def failure(self, what: str, reason: str) -> None:
        """Show what of a sweep did not end well."""
        self.say(f"failed: {what}: {reason}", style="red", soft_wrap=True)

    def summary(self, runs: Sequence[dict[str, Any]]) -> None:
        """Show the runs of a sweep that ended well, one row each; `failures` shows the others."""
        runs = [run for run in runs if run["status"] in ENDED_WELL]
        names = [name for name in SUMMARY if any(name in run.get("metrics", {}) for run in runs)]
        columns = [*folding("run"), *(Column(name, justify="right", no_wrap=True) for name in names)]
        datasets = [run.get("task", {}).get("name", "?") for run in runs]
        rows = []
        for run, dataset in zip(runs[:SUMMARY_ROWS], datasets, strict=False):
            values = run.get("metrics", {})
            title = f"{run['title']} on {dataset}" if len(set(datasets)) > 1 else run["title"]
            title += f" (raced out at epoch {run['race']['epoch']})" if run["status"] == "raced out" else ""
            rows.append((title, *(number(values[name]) if name in values else "" for name in names)))
        if runs:
            self.table(columns, rows)
        if len(runs) > SUMMARY_ROWS:
            self.say(f"... and {len(runs) - SUMMARY_ROWS} more")

    def raced_out(self, runs: Sequence[dict[str, Any]]) -> None:
        """Show how many runs of a sweep left their race."""
        count = sum(run["status"] == "raced out" for run in runs)
        if count:
            self.say(
                f"{count} of {len(runs)} runs were raced out; run.json of each has the comparison.", soft_wrap=True
            )

    def failures(self, runs: Sequence[dict[str, Any]]) -> None:
        """Show the runs that did not end well, with reason and folder; the same reason in a row is told once."""
        rows = []
        for before, run in zip([None, *runs], runs, strict=False):
            same = before is not None and before["reason"] == run["reason"]
            folder = str(shortest(Path(run["folder"]))) if "folder" in run else ""  # what was refused has no record
            rows.append((run["title"], "as above" if same else run["reason"], folder))
        if runs:
            self.table(folding("failed run", "reason", "folder"), rows)


def result_table(run: Mapping[str, Any], names: Iterable[str]) -> tuple[list[Column], list[list[str]]]:
    """Return the table of these metrics of a run, beside them what the constant prediction has of scores of test rows.

    A regression's metrics name their unit.
    """
    metrics, unit = run["metrics"], run["task"]["target"]["name"]
    is_regression = run["task"]["kind"] == "regression"
    rows = []
    for name in (name for name in names if name in metrics):
        constant = metrics.get(f"constant/{name}")
        units = (
            f" (units of {unit})"
            if name in IN_TARGET_UNITS
            else " (scaled)"
            if is_regression and "/loss" in name
            else ""
        )
        rows.append([f"{name}{units}", number(metrics[name]), "" if constant is None else number(constant)])
    columns = [Column("metric", overflow="fold"), *(Column(head, justify="right") for head in ("value", "constant"))]
    if not any(row[2] for row in rows):
        columns, rows = columns[:2], [row[:2] for row in rows]
    return columns, rows


def shared(configs: Sequence[Config]) -> str:
    """Return the words that the titles of these runs share, but for those that name the data."""
    titles = [config.title.split() for config in configs]
    common = [word for word in titles[0] if all(word in title for title in titles)]
    return " ".join(word for word in common if not word.startswith(NAMES_OF_DATA))


def number(value: float) -> str:
    """Return a number with four significant digits; counts in full."""
    return f"{value:,.0f}" if 10 <= abs(value) < 1e9 and value == int(value) else f"{value:.4g}"


def shortest(folder: Path) -> Path:
    """Return the folder relative to the working folder where it lies below it."""
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
