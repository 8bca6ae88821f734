"""The runs of a folder that have ended for good, found again by their identity."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from psilon_bench.config.identity import Identity, difference
from psilon_bench.config.schema import Config
from psilon_bench.records import run_json
from psilon_bench.records.record import Run, is_closed

Stamp = tuple[int, int] | None


def folder_of(config: Config) -> Path:
    """Return the folder in which the records of a sweep lie."""
    return Path(config.results_dir, config.name)


@dataclass
class FinishedRuns:
    """An index of a folder of records: `look` lists the folder and reads what is new or has changed since."""

    folder: Path
    runs: dict[str, Run] = field(default_factory=dict)  # run.json and its folder by identity; the latest of several
    closed: set[str] = field(default_factory=set)  # records that have ended for good: they never change again
    unreadable: dict[str, str] = field(default_factory=dict)  # why, by the name of the record
    stamps: dict[str, Stamp] = field(default_factory=dict)  # of the run.json of every other record, when it was read

    def look(self) -> "FinishedRuns":
        """Take in the records that have ended since the last look."""
        names = sorted(path.name for path in self.folder.iterdir()) if self.folder.is_dir() else []
        for name in names:
            if (
                name.startswith(".")
                or name in self.closed
                or self.stamps.get(name) == (now := stamp(self.folder / name))
            ):
                continue
            self.stamps[name] = now
            if now is not None:
                self.take_in(name)
        return self

    def take_in(self, name: str) -> None:
        """Read one record; what cannot be read is left out, with the reason."""
        try:
            run = run_json.read(self.folder / name / "run.json").model_dump()
        except run_json.Unreadable as error:
            self.unreadable[name] = str(error)
            return
        self.unreadable.pop(name, None)
        if is_closed(run):
            self.closed.add(name)
            self.runs[Identity.of_record(run).key] = run | {"folder": str(self.folder / name)}

    def left_out(self) -> list[str]:
        """Say which records cannot be read: their number and the first of them."""
        if not self.unreadable:
            return []
        first = next(iter(self.unreadable.values()))
        return [f"{len(self.unreadable)} records cannot be read and are left out, such as {first}."]

    def changes(self, configs: Iterable[Config]) -> list[str]:
        """Say of these runs, which are to train, where they were done before with other data or other code."""
        earlier: dict[str, list[Run]] = {}
        for run in self.runs.values():
            earlier.setdefault(run["fingerprint"], []).append(run)
        configs = list(configs)
        told: dict[str, int] = {}
        for config in configs:
            alike = [run for run in earlier.get(config.fingerprint(), []) if same_places(run, config)]
            if alike:
                what = difference(Identity.of_record(max(alike, key=when)), config.identity)
                told[what] = told.get(what, 0) + 1
        return [f"{what}: {count} of {len(configs)} runs train again." for what, count in told.items()]


def stamp(record: Path) -> Stamp:
    """Return what changes whenever run.json is replaced; None where there is none."""
    try:
        stat = (record / "run.json").stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ino


def when(run: Run) -> str:
    """Return when a run was started, for a choice among records."""
    return str(run["times"]["started"])


def same_places(run: Run, config: Config) -> bool:
    """Tell whether a record was made from files of the same places: it is of the same data set then, as it was."""
    return all(run["params"].get(f"dataset.{name}") == path for name, path in config.dataset.resolved().items())
