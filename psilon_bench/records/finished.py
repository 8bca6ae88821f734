"""An index of the runs of a sweep's folder that have ended for good, by their identity."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from psilon_bench.config.identity import Identity, difference
from psilon_bench.config.schema import Config
from psilon_bench.records import places, run_json
from psilon_bench.records.record import is_closed
from psilon_bench.records.run_json import RunDict

FileVersion = tuple[int, int] | None  # changes whenever the file is replaced; None where there is none


@dataclass
class FinishedRuns:
    """An index of a folder of records: `refresh` lists the folder and reads what is new or has changed since."""

    folder: Path
    settings_kept: int | None = None  # by this race: who left one that kept as many, or more, counts as done
    runs: dict[str, RunDict] = field(default_factory=dict)  # run.json and its folder by identity; the latest of several
    ended: set[str] = field(default_factory=set)  # names of records that have ended for good: they never change again
    unreadable: dict[str, str] = field(default_factory=dict)  # why, by the name of the record
    versions: dict[str, FileVersion] = field(default_factory=dict)  # of every other record's run.json when read

    def refresh(self) -> "FinishedRuns":
        """Take in the records that have ended since the last call, and return the index itself."""
        names = sorted(path.name for path in self.folder.iterdir()) if self.folder.is_dir() else []
        for name in names:
            if (
                name.startswith(".")
                or name in self.ended
                or self.versions.get(name) == (now := run_json_version(self.folder / name))
            ):
                continue
            self.versions[name] = now
            if now is not None:
                self.take_in(name)
        return self

    def take_in(self, name: str) -> None:
        """Read one record; one that cannot be read is left out, and the reason is kept."""
        try:
            run = run_json.read_run_json(self.folder / name / places.RUN_JSON).model_dump()
        except run_json.Unreadable as error:
            self.unreadable[name] = str(error)
            return
        self.unreadable.pop(name, None)
        if is_closed(run):
            self.ended.add(name)
            self.add(Identity.of_record(run).key, run | {"folder": str(self.folder / name)})

    def add(self, key: str, run: RunDict) -> None:
        """Take in a run that has ended for good; one that was raced out never in the place of one that was not."""
        if run["status"] != "raced out" or (self.is_out(run) and key not in self.runs):
            self.runs[key] = run

    def is_out(self, run: RunDict) -> bool:
        """Tell whether a run that was raced out would be in a race that keeps as many settings as this one."""
        kept = run["race"]["kept"] if run["race"] else 1
        return self.settings_kept is not None and kept >= self.settings_kept

    def left_out(self) -> list[str]:
        """Return a line that says how many records cannot be read, and names the first; no line where all can."""
        if not self.unreadable:
            return []
        first = next(iter(self.unreadable.values()))
        return [f"{len(self.unreadable)} records cannot be read and are left out, such as {first}."]

    def changes(self, configs: Iterable[Config]) -> list[str]:
        """Return a line for each reason why some of these runs train again: data or code that changed."""
        earlier: dict[str, list[RunDict]] = {}
        for run in self.runs.values():
            earlier.setdefault(run["fingerprint"], []).append(run)
        configs = list(configs)
        counts: dict[str, int] = {}
        for config in configs:
            alike = [run for run in earlier.get(config.fingerprint(), []) if same_data_paths(run, config)]
            if alike:
                reason = difference(Identity.of_record(max(alike, key=time_started)), config.identity)
                counts[reason] = counts.get(reason, 0) + 1
        return [f"{reason}: {count} of {len(configs)} runs train again." for reason, count in counts.items()]


def run_json_version(record: Path) -> FileVersion:
    """Return time of change and inode of a record's run.json; None where there is none."""
    try:
        stat = (record / places.RUN_JSON).stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ino


def time_started(run: RunDict) -> str:
    """Return when a run was started (ISO 8601), for a choice among records."""
    return str(run["times"]["started"])


def same_data_paths(run: RunDict, config: Config) -> bool:
    """Return whether a record was made from files at the same paths: the same data set, of any content."""
    return all(run["params"].get(f"dataset.{name}") == path for name, path in config.dataset.resolved().items())
