"""Follows runs that other processes compute, by their records."""

from collections.abc import Mapping
from pathlib import Path

from psilon_bench.config.identity import Identity
from psilon_bench.config.schema import Config
from psilon_bench.records.finished import FinishedRuns, stamp
from psilon_bench.records.record import Run
from psilon_bench.records.run_files import read_run
from psilon_bench.run.display import Display
from psilon_bench.tracking.sender import Sender


class Watch:
    """The records of these runs (by identity) that appear in a folder, or change there, from now on."""

    def __init__(self, folder: Path, wanted: Mapping[str, Config], display: Display, sender: Sender | None) -> None:
        self.folder, self.wanted, self.display, self.sender = folder, wanted, display, sender
        self.before = {record: stamp(record) for record in self.records()}
        self.runs: dict[Path, Run] = {}
        self.keys: dict[Path, str] = {}  # the identities of these runs
        self.refused: dict[str, Run] = {}  # without a record
        self.over = 0

    def records(self) -> list[Path]:
        """The folders there are."""
        return [path.parent for path in self.folder.glob("*/run.json")]

    def look(self) -> None:
        """Hand what is new to the sender, tell of failures, move the bar."""
        for record in self.records():
            ended = self.runs.get(record, {}).get("status") == "finished"
            if ended or (record in self.before and stamp(record) == self.before[record]):
                continue
            run = read_run(record)
            if run is None or (key := Identity.of_record(run).key) not in self.wanted or run == self.runs.get(record):
                continue
            self.runs[record], self.keys[record] = run, key
            if self.sender is not None:
                self.sender.follow(record)
            if run["status"] == "failed":
                self.display.failure(run["title"], f"{run['reason']}; see {record}")
        over = len({self.keys[record] for record, run in self.runs.items() if run["status"] in ("finished", "failed")})
        if over > self.over:
            self.display.advance(over - self.over)
            self.over = over

    def status(self, config: Config) -> str | None:
        """Of the latest record of a run; None where there is none."""
        runs = [run for record, run in sorted(self.runs.items()) if self.keys[record] == config.identity.key]
        return runs[-1]["status"] if runs else None

    def told(self, runs: Mapping[str, Run]) -> None:
        """What a process says of its runs at their end: those that could not be set up have no record."""
        for key, run in runs.items():
            if "folder" in run:  # by another process, perhaps, before this one began to look
                self.runs.setdefault(Path(run["folder"]), run)
                self.keys.setdefault(Path(run["folder"]), key)
            else:
                self.refused[key] = run
                self.display.failure(run["title"], run["reason"])
                self.display.advance(1)

    def outcomes(self) -> dict[str, Run]:
        """run.json of every run by identity; one without a last word is killed."""
        found = dict(self.refused)
        for record, run in sorted(self.runs.items()):
            key = self.keys[record]
            if key not in found or found[key]["status"] != "finished":
                found[key] = run | {"folder": str(record)}
        if self.wanted.keys() - found.keys():
            found = FinishedRuns(self.folder).look().runs | found
        for key, config in self.wanted.items():
            run = found.setdefault(key, {"status": "running", "title": config.title})
            if run["status"] == "running":
                found[key] = run | {"status": "killed", "reason": "its process ended before it"}
        return {key: found[key] for key in self.wanted}
