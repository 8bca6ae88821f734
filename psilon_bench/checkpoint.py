"""Checkpoints of stacks: the state of the trainer and the folders of its records, until all of them are closed."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from psilon_bench.config import Config, digest


@dataclass(frozen=True)
class Checkpoint:
    """results_dir/name/.checkpoints/<id>.pt and <id>.json that names its members; the id stands for their fingerprints.

    Both are written whole under another name and renamed, the names last: a checkpoint that can be seen can be read.
    """

    path: Path

    @classmethod
    def of(cls, configs: Sequence[Config]) -> "Checkpoint":
        """The place of the checkpoint of a stack, whether there is one or not."""
        members = [config.fingerprint() for config in configs]
        return cls(folder_of(configs[0]) / f"{digest(members)}.pt")

    @property
    def names(self) -> Path:
        """The file that names the members."""
        return self.path.with_suffix(".json")

    @contextmanager
    def mine(self, wait: bool) -> Iterator[bool]:
        """Within, True where no other process trains this very stack, after waiting for it; its lock goes with it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path.with_suffix(".lock"))
        try:
            lock.acquire(timeout=-1 if wait else 0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            self.path.with_suffix(".lock").unlink(missing_ok=True)
            lock.release()

    def taken(self) -> bool:
        """Whether another process trains this very stack now."""
        with self.mine(wait=False) as mine:
            return not mine

    def save(self, state: dict[str, Any], fingerprints: Sequence[str], folders: Sequence[Path]) -> None:
        """Replace the checkpoint."""
        part = self.path.with_suffix(f".{os.getpid()}.part")
        torch.save(state, part)
        part.replace(self.path)
        members = {"fingerprints": list(fingerprints), "folders": [str(folder) for folder in folders]}
        part.write_text(json.dumps(members))
        part.replace(self.names)

    def load(self) -> tuple[dict[str, Any], list[Path]] | None:
        """The state and the folders of the records; None where there is no checkpoint, or its records are gone."""
        if not self.names.exists():
            return None
        folders = [Path(folder) for folder in json.loads(self.names.read_text())["folders"]]
        if not all((folder / "run.json").exists() for folder in folders):
            return None
        # the milestones of MultiStepLR are a Counter
        with torch.serialization.safe_globals([Counter]):
            return torch.load(self.path, weights_only=True, map_location="cpu"), folders

    def remove(self) -> None:
        """After the records are closed."""
        self.names.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


def unfinished_stacks(config: Config) -> list[list[str]]:
    """The members (fingerprints) of every checkpoint beside the records of this configuration."""
    files = sorted(folder_of(config).glob("*.json"))
    return [json.loads(file.read_text())["fingerprints"] for file in files]


def folder_of(config: Config) -> Path:
    """Where the checkpoints of a sweep lie."""
    return Path(config.results_dir, config.name, ".checkpoints").absolute()
