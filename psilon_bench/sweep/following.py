"""Follows runs that other processes compute, by their records."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from psilon_bench.config.identity import Identity
from psilon_bench.config.schema import Config
from psilon_bench.records.finished import FinishedRuns, run_json_version
from psilon_bench.records.history import read_rows
from psilon_bench.records.places import HISTORY, records_in
from psilon_bench.records.run_json import RunDict, read_run
from psilon_bench.run.display import Display
from psilon_bench.tracking.sender import Sender


class RecordFollower:
    """Follows the records of certain runs (by identity) that appear in a folder, or change in it, from now on."""

    def __init__(self, folder: Path, wanted: Mapping[str, Config], display: Display, sender: Sender | None) -> None:
        self.folder, self.wanted, self.display, self.sender = folder, wanted, display, sender
        self.versions_before = {record: run_json_version(record) for record in records_in(folder)}
        self.runs: dict[Path, RunDict] = {}
        self.keys: dict[Path, str] = {}  # the identities of these runs
        self.latest: dict[str, Path] = {}  # the latest record by identity
        self.without_record: dict[str, RunDict] = {}  # runs that could not be set up
        self.finished: set[str] = set()  # the names of records that `update` need not look at again
        self.num_ended = 0

    def unfinished(self) -> list[Path]:
        """Return the folders that may be records, but for those that have finished.

        One listing: a look at each of 1000 records would take 20 ms, for every run that ends.
        """
        names = (path.name for path in self.folder.iterdir()) if self.folder.is_dir() else ()
        return [self.folder / name for name in names if not (name.startswith(".") or name in self.finished)]

    def update(self) -> None:
        """Read records that are new or have changed: hand them to the sender, tell of failures, move the bar."""
        for record in self.unfinished():
            if self.versions_before.get(record, ()) == run_json_version(record):
                continue
            run, before = read_run(record), self.runs.get(record)
            if run is None or (key := Identity.of_record(run).key) not in self.wanted or run == before:
                continue
            if before is not None and (before["status"], run["status"]) == ("failed", "running"):
                self.display.note(f"{run['title']}: tried again")  # in half of its stack, say
            self.keep(record, key, run)
            if run["status"] == "finished":
                self.finished.add(record.name)
            if self.sender is not None:
                self.sender.follow(record)
            if run["status"] == "failed":
                self.display.failure(run["title"], f"{run['reason']}; see {record}")
        ends = "finished", "failed", "raced out"
        ended_runs = {self.keys[record] for record, run in self.runs.items() if run["status"] in ends}
        if len(ended_runs) != self.num_ended:  # fewer where one that failed is tried again
            self.display.advance(len(ended_runs) - self.num_ended)
            self.num_ended = len(ended_runs)

    def keep(self, record: Path, key: str, run: RunDict) -> None:
        """Keep what the record of the run with this identity says."""
        self.runs[record], self.keys[record] = run, key
        self.latest[key] = max(record, self.latest.get(key, record))

    def status(self, config: Config) -> str | None:
        """Return the status in the latest record of a run; None where there is no record."""
        latest = self.latest.get(config.identity.key)
        return self.runs[latest]["status"] if latest else None

    def show(self, stacks: Iterable[Sequence[Config]]) -> None:
        """Show how far the stacks at work are, by the histories of those of their runs that train still."""
        self.display.under_way(sum(map(self.epochs_over, stacks)))

    def epochs_over(self, stack: Sequence[Config]) -> float:
        """Return the shares of their epochs that the runs of a stack have behind them, added up."""
        at_work = [self.latest[config.identity.key] for config in stack if self.status(config) == "running"]
        # one that diverged or stopped early is `running` until the stack ends, but has no further rows
        rows = read_rows(max((record / HISTORY for record in at_work), key=written_at)) if at_work else []
        return len(at_work) * rows[-1]["epoch"] / stack[0].trainer.all_epochs if rows else 0.0

    def add_results(self, runs: Mapping[str, RunDict]) -> None:
        """Take what a process returns of its runs at their end: those that could not be set up have no record."""
        for key, run in runs.items():
            if "folder" in run:  # by another process, perhaps, before this one began to follow
                if (record := Path(run["folder"])) not in self.runs:
                    self.keep(record, key, run)
            else:
                self.without_record[key] = run
                self.display.failure(run["title"], run["reason"])
                self.display.advance(1)

    def outcomes(self) -> dict[str, RunDict]:
        """Return run.json of every run by identity; a run that still says `running` was killed."""
        found = dict(self.without_record)
        for record, run in sorted(self.runs.items()):
            key = self.keys[record]
            if key not in found or found[key]["status"] != "finished":
                found[key] = run | {"folder": str(record)}
        if self.wanted.keys() - found.keys():
            settings_kept = next(iter(self.wanted.values())).settings_kept
            found = FinishedRuns(self.folder, settings_kept).refresh().runs | found
        for key, config in self.wanted.items():
            run = found.setdefault(key, {"status": "running", "title": config.title})
            if run["status"] == "running":
                found[key] = run | {"status": "killed", "reason": "its process ended before it"}
        return {key: found[key] for key in self.wanted}


def written_at(path: Path) -> float:
    """Return the time of the last change of a file; 0 where there is none."""
    return path.stat().st_mtime if path.exists() else 0.0
