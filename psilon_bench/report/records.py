"""The run.json of every record below some folders, cut down to what a report reads."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psilon_bench.errors import UsageError
from psilon_bench.history import whole_lines
from psilon_bench.process import is_gone
from psilon_bench.run_files import run_files

NEEDED = ("status", "metrics", "params", "seed", "task", "times")


@dataclass(frozen=True, slots=True)
class Run:
    """One record. `status` is that of run.json, but `vanished` for one whose process ended without a word."""

    folder: Path
    status: str
    reason: str
    title: str
    seed: int
    dataset: str
    kind: str
    started: str
    params: dict[str, Any]
    metrics: dict[str, float]
    origin: str  # command, commit, versions and hardware, as JSON

    @property
    def is_baseline(self) -> bool:
        """Fitted as a whole, as ridge is: reg, optimizer and trainer do nothing, and the title does not name reg."""
        return not self.title.startswith(f"{self.params.get('model.name')} {self.params.get('reg.name')}")

    @property
    def replicate(self) -> tuple[int, Any]:
        """Seed and split seed: what is repeated, never tuned."""
        return self.seed, self.params.get("dataset.split_seed")

    def about(self) -> dict[str, Any]:
        """The whole of run.json, read again: lists are not kept in memory for all runs."""
        return json.loads((self.folder / "run.json").read_text())

    def history(self) -> list[str]:
        """The whole lines of history.csv, header first."""
        return whole_lines(self.folder / "history.csv")


@dataclass(frozen=True)
class Damaged:
    """A run.json that cannot be used, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Records:
    """What was found below `folders`."""

    folders: list[Path]
    runs: list[Run]
    damaged: list[Damaged]


def scan(folders: Sequence[Path]) -> Records:
    """Every record below the folders, once; UsageError where there is none at all."""
    found: dict[Path, Run | Damaged] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder} is not a folder. Call psilon-report <results_dir>/<name>.")
        for path in run_files(folder.absolute()):
            found.setdefault(path, read(path))
    runs = [one for one in found.values() if isinstance(one, Run)]
    damaged = [one for one in found.values() if isinstance(one, Damaged)]
    if not found:
        names = " ".join(str(folder) for folder in folders)
        raise UsageError(f"{names} holds no record of a run (a folder with run.json). Make some: psilon-run -m ...")
    return Records([folder.absolute() for folder in folders], runs, damaged)


def read(path: Path) -> Run | Damaged:
    """One record, or what is wrong with it."""
    try:
        about = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        return Damaged(path, f"{type(error).__name__}: {error}")
    missing = [key for key in NEEDED if key not in about] if isinstance(about, dict) else NEEDED
    if missing:
        return Damaged(path, f"it lacks {', '.join(missing)}")
    origin = {key: about.get(key) for key in ("command", "git_commit", "versions", "hardware")}
    return Run(
        folder=path.parent,
        status="vanished"
        if about["status"] == "running" and "process" in about and is_gone(about)
        else about["status"],
        reason=about.get("reason") or "",
        title=about.get("title") or path.parent.name,
        seed=about["seed"],
        dataset=sys.intern(about["task"]["name"]),
        kind=sys.intern(about["task"]["kind"]),
        started=about["times"]["started"],
        params={sys.intern(key): plain(value) for key, value in about["params"].items()},
        metrics={sys.intern(key): value for key, value in about["metrics"].items()},
        origin=sys.intern(json.dumps(origin)),
    )


def plain(value: Any) -> Any:
    """Lists as text, so that values can be compared and counted."""
    return json.dumps(value) if isinstance(value, list) else value
