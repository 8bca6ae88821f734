"""Records of runs: the run.json of every record below some folders, reduced to what a report reads."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from psilon_bench.config.repeated import PARTITION, REFIT, REPLICATES, fold_words
from psilon_bench.errors import UsageError
from psilon_bench.machine.process import is_gone
from psilon_bench.records import places, run_json
from psilon_bench.records.history import whole_lines
from psilon_bench.records.run_json import RunJson, Unreadable
from psilon_bench.report.escaping import visible


@dataclass(frozen=True, slots=True)
class Run:
    """One record, its text without control characters.

    `status` is that of run.json, but `vanished` for a run whose process ended without writing one.
    """

    folder: Path
    status: str
    reason: str
    title: str
    seed: int
    dataset: str  # its name; two data sets may have the same
    checksum: str  # of the data set's content; empty where the record has none
    source: str  # where the data set is from: a path, an address, words
    kind: str
    code_version: str | None
    started: str
    params: dict[str, Any]
    metrics: dict[str, float]
    val_weight: float  # the number of validation rows, or the sum of their weights
    target_center: float  # the target at 0 of the scaled one
    target_scale: float  # units of the target per unit of the scaled one
    origin: str  # command, commit, versions and hardware, as JSON

    @property
    def is_baseline(self) -> bool:
        """Tell whether the run is a baseline, fitted as a whole: its title names no reg, which does nothing there."""
        return not self.title.startswith(f"{self.params.get('model.name')} {self.params.get('reg.name')}")

    @property
    def replicate(self) -> tuple[Any, ...]:
        """Return the seed, the split seed and the fold: the values of REPLICATES, None for what a record lacks."""
        return self.seed, *(self.params.get(key) for key in REPLICATES[1:])

    @property
    def is_refit(self) -> bool:
        """Return whether the run trained on the validation rows too, so that no choice may look at it."""
        return self.params.get("dataset.fold") == REFIT

    @property
    def partition(self) -> tuple[Any, ...]:
        """Return what all folds of one partition of the rows share: seed, split seed, repeat."""
        return self.seed, *(self.params.get(key) for key in PARTITION[1:])

    @property
    def replicate_text(self) -> str:
        """Return the seed, and the fold where there is one, in words: `3`, `3 fold 0`, `3 repeat 1 fold 0`."""
        dataset = {key.partition(".")[2]: value for key, value in self.params.items() if key.startswith("dataset.")}
        return " ".join([str(self.seed), *(word.replace("=", " ") for word in fold_words(dataset))])

    @property
    def began(self) -> float:
        """Return the start in seconds since the epoch; the time zone of `started` may differ between runs."""
        return datetime.fromisoformat(self.started).timestamp()

    def about(self) -> RunJson:
        """Return the whole run.json, read again: its lists are not kept in memory for all runs."""
        return run_json.read_run_json(self.folder / places.RUN_JSON)

    def history(self) -> list[str]:
        """Return the whole lines of history.csv, the header first."""
        return whole_lines(self.folder / places.HISTORY)


@dataclass(frozen=True)
class Damaged:
    """A file of a record that cannot be used, and the reason."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Records:
    """The records found below `folders`."""

    folders: list[Path]
    runs: list[Run]
    damaged: list[Damaged]


def scan(folders: Sequence[Path]) -> Records:
    """Return every record below the folders, each once; UsageError where a folder or every record is missing."""
    found: dict[Path, Run | Damaged] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder} is not a folder. Call psilon-report <results_dir>/<name>.")
        for path in places.run_json_files(folder.absolute()):
            found.setdefault(path, read_record(path))
    runs = [one for one in found.values() if isinstance(one, Run)]
    damaged = [one for one in found.values() if isinstance(one, Damaged)]
    if not found:
        names = " ".join(str(folder) for folder in folders)
        raise UsageError(f"{names} holds no record of a run (a folder with run.json). Make some: psilon-run -m ...")
    return Records([folder.absolute() for folder in folders], runs, damaged)


def read_record(path: Path) -> Run | Damaged:
    """Return the record of a run.json, or what is wrong with it."""
    try:
        about = run_json.read_run_json(path)
    except Unreadable as error:
        return Damaged(path, visible(error.reason))
    origin = about.model_dump(include={"command", "git_commit", "versions", "hardware", "code_version"})
    return Run(
        folder=path.parent,
        status="vanished" if about.status == "running" and about.process and is_gone(about.raw) else about.status,
        reason=visible(about.reason or ""),
        title=visible(about.title),
        seed=about.seed,
        dataset=sys.intern(visible(about.task.name)),
        checksum=sys.intern(about.task.checksum),
        source=sys.intern(visible(about.task.source)),
        kind=about.task.kind,
        code_version=about.code_version,
        started=about.times.started,
        params={sys.intern(visible(key)): plain(value) for key, value in chosen_params(about).items()},
        metrics={sys.intern(visible(key)): value for key, value in about.metrics.items()},
        val_weight=about.task.val_weight or about.task.rows.get("val", 0),
        target_center=about.task.target.center if about.task.target else 0.0,
        target_scale=about.task.target.scale if about.task.target else 1.0,
        origin=sys.intern(json.dumps(visible(origin))),
    )


def chosen_params(about: RunJson) -> dict[str, Any]:
    """Return the flat configuration with the precision that hardware.precision=auto took: it decides the numbers."""
    took = {"hardware.precision": about.precision} if about.params.get("hardware.precision") == "auto" else {}
    return about.params | (took if about.precision else {})


def plain(value: Any) -> Any:
    """Return a value that can be compared and counted.

    Lists and dictionaries become text, and so do nan, which equals nothing, and integers beyond the largest float.
    """
    is_huge = isinstance(value, int) and abs(value) > sys.float_info.max
    if isinstance(value, list | dict) or is_huge or value != value:
        return visible(json.dumps(value, ensure_ascii=False))
    return visible(value)
