"""Checkpoints of stacks: the state of the trainer and the histories so far, until all records are closed."""

import contextlib
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from psilon_bench.config.identity import Identity, difference, digest
from psilon_bench.config.schema import Config
from psilon_bench.data.store import cache_folder
from psilon_bench.records.durable import write_tensors, write_text

ROOM_FOR_TEXT = 65_536  # bytes for what is written of a member beside tensors
Say = Callable[[str], None]


class Names(BaseModel):
    """What <id>.json says: the members, their records, and which file holds the state."""

    model_config = ConfigDict(extra="forbid")
    identities: Annotated[list[Identity], Field(min_length=1)]
    paths: list[dict[str, str]]  # files that the data of each member come from
    records: list[Annotated[str, Field(pattern=r"^[\w.+-]+$")]]  # their folders, within that of the sweep
    sweep: str  # its folder, where this file lies elsewhere
    file: Annotated[str, Field(pattern=r"^[0-9a-f]{16}-\d+\.pt$")]
    sha256: str

    @model_validator(mode="after")
    def one_of_each(self) -> "Names":
        """Every member has an identity, paths and a record."""
        if not len(self.identities) == len(self.paths) == len(self.records):
            raise ValueError("identities, paths and records should be equally many")
        return self

    @property
    def keys(self) -> list[str]:
        """The identities of the members."""
        return [identity.key for identity in self.identities]


@dataclass(frozen=True)
class Found:
    """What a checkpoint holds: the trainer's state, the folder of each record, and the rows of its history."""

    fit: dict[str, Any]
    folders: list[Path]
    rows: list[list[dict[str, float]]]


@dataclass(frozen=True)
class Checkpoint:
    """results_dir/name/.checkpoints/<id>.json, which names the members and the file <id>-<n>.pt with their state.

    The id stands for the identities of the members: configuration, data and code. The state is written first, under a
    name of its own, then <id>.json is replaced: what it names is whole, and its sha256 says so. Where the folder cannot
    be written, the checkpoint goes to the user's cache and is found there.
    """

    folder: Path
    configs: Sequence[Config]

    @classmethod
    def of(cls, configs: Sequence[Config]) -> "Checkpoint":
        """Return the checkpoint of a stack, whether there is one or not."""
        return cls(checkpoints_of(configs[0]), configs)

    @property
    def id(self) -> str:
        """The name of its files."""
        return digest([config.identity.key for config in self.configs])

    @property
    def places(self) -> list[Path]:
        """Where it may lie, the usual place first."""
        return [self.folder, refuge()]

    @property
    def room(self) -> Path:
        """A file that keeps room on the disk for the state, so that a full disk costs no trained network."""
        return self.folder / f"{self.id}.room"

    def exists(self) -> bool:
        """Tell whether there is one."""
        return any((place / f"{self.id}.json").exists() for place in self.places)

    def keep_room(self, state: dict[str, Any]) -> None:
        """Set room aside for this state and what an optimizer adds to it. OSError where the disk has not as much."""
        parameters = sum(value.nbytes for value in state.get("tensors", {}).values())
        size = bytes_in(state) + 2 * parameters + ROOM_FOR_TEXT * len(self.configs)
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.room.open("wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)

    def save(self, fit: dict[str, Any], folders: Sequence[Path], rows: Sequence[list[dict[str, float]]]) -> Path:
        """Replace the checkpoint; the folder it lies in. Takes the room that was kept where there is no other."""
        content = {"fit": fit, "rows": list(rows)}
        attempts = [(self.folder, False), (self.folder, True), (refuge(), True)]
        for place, without_room in attempts:
            try:
                if without_room:
                    self.release_room()
                self.save_to(place, content, folders)
                return place
            except OSError as error:
                problem = error
        raise problem

    def release_room(self) -> None:
        """Give back the room that was kept; where the folder cannot be written there is none to be had."""
        with contextlib.suppress(OSError):
            self.room.unlink(missing_ok=True)

    def save_to(self, place: Path, content: dict[str, Any], folders: Sequence[Path]) -> None:
        """Write the state, then the file that names it, then remove what was named before."""
        place.mkdir(parents=True, exist_ok=True)
        before = set(place.glob(f"{self.id}-*.pt"))
        path = next(path for n in range(len(before) + 1) if (path := place / f"{self.id}-{n}.pt") not in before)
        write_tensors(path, content)
        names = Names(
            identities=[config.identity for config in self.configs],
            paths=[config.dataset.resolved() for config in self.configs],
            records=[folder.name for folder in folders],
            sweep=str(self.folder.parent),
            file=path.name,
            sha256=sha256(path),
        )
        write_text(place / f"{self.id}.json", names.model_dump_json())
        for old in before:
            old.unlink(missing_ok=True)

    def load(self, say: Say) -> Found | None:
        """Return what it holds; None where there is none. One that is damaged is set aside, and said."""
        for place in self.places:
            names = read_names(place / f"{self.id}.json", say)
            if names is None:
                continue
            try:
                return read(place, names, self.folder.parent)
            except Exception as error:  # whatever a file that was cut or overwritten may raise
                self.set_aside(f"is damaged ({brief(error)})", say)
        return None

    def set_aside(self, why: str, say: Say) -> None:
        """Move it out of the way, wherever it lies."""
        for place in self.places:
            if (place / f"{self.id}.json").exists():
                set_aside(place / f"{self.id}.json", why, say)

    def remove(self) -> None:
        """Remove all of its files, after the records are closed."""
        self.release_room()
        for place in self.places:
            (place / f"{self.id}.json").unlink(missing_ok=True)
            for path in place.glob(f"{self.id}-*.pt"):
                path.unlink(missing_ok=True)


def read(place: Path, names: Names, sweep: Path) -> Found:
    """Return what the named file holds; an exception of any kind where it is not what it was."""
    path = place / names.file
    if sha256(path) != names.sha256:
        raise ValueError("its checksum differs")
    with torch.serialization.safe_globals([Counter]):  # the milestones of MultiStepLR are a Counter
        content = torch.load(path, weights_only=True, map_location="cpu")
    return Found(content["fit"], [sweep / record for record in names.records], content["rows"])


def read_names(path: Path, say: Say) -> Names | None:
    """Return what <id>.json says; None where there is none, or where it is damaged, which is said."""
    try:
        return Names.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        set_aside(path, f"is damaged ({brief(error)})", say)
        return None


def set_aside(names: Path, why: str, say: Say) -> None:
    """Move the files of a checkpoint out of the way, into a folder beside them, and say so in one line."""
    aside = names.parent / "set_aside"
    with contextlib.suppress(OSError):  # a folder that cannot be written: nothing is lost by leaving it
        names.with_suffix(".room").unlink(missing_ok=True)
        aside.mkdir(exist_ok=True)
        for path in [names, *names.parent.glob(f"{names.stem}-*.pt")]:
            path.replace(aside / path.name)
    say(f"the checkpoint {names.name} {why}; it is set aside in {aside}, and its runs train from the start.")


def unfinished_stacks(config: Config, say: Say = lambda line: None) -> list[list[str]]:
    """Return the members (identities) of every checkpoint of the folder that this configuration's record is in."""
    return [names.keys for _, names in all_names(config, say)]


def set_aside_outdated(configs: Sequence[Config], say: Say, only_say: bool = False) -> None:
    """Set aside the checkpoints of these runs that are of other data or of other code, and say what changed."""
    wanted = {(config.fingerprint(), tuple(sorted(config.dataset.resolved().items()))): config for config in configs}
    for path, names in all_names(configs[0], say):
        for identity, paths in zip(names.identities, names.paths, strict=False):
            config = wanted.get((identity.fingerprint, tuple(sorted(paths.items()))))
            if config is not None and config.identity != identity:
                why = f"does not count, for {difference(identity, config.identity)}"
                say(f"the checkpoint {path.name} {why}.") if only_say else set_aside(path, why, say)
                break


def all_names(config: Config, say: Say) -> Iterator[tuple[Path, Names]]:
    """Yield every file that names members, and what it says, for the folder of this configuration's record."""
    folder = checkpoints_of(config)
    for path in [*sorted(folder.glob("*.json")), *sorted(refuge().glob("*.json"))]:
        names = read_names(path, say)
        if names is not None and (path.parent == folder or names.sweep == str(folder.parent)):
            yield path, names


def checkpoints_of(config: Config) -> Path:
    """Return the folder of the checkpoints, and of the locks, of a sweep."""
    return Path(config.results_dir, config.name, ".checkpoints")


def refuge() -> Path:
    """Return where a checkpoint goes that cannot be written where it belongs."""
    return cache_folder() / "checkpoints"


def bytes_in(value: Any) -> int:
    """Return the size of all tensors in nested containers."""
    if isinstance(value, torch.Tensor):
        return value.nbytes
    if isinstance(value, dict):
        return sum(map(bytes_in, value.values()))
    return sum(map(bytes_in, value)) if isinstance(value, list | tuple) else 0


def sha256(path: Path) -> str:
    """Return the checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def brief(error: Exception) -> str:
    """Return the first words of what is wrong."""
    return " ".join(str(error).split())[:100] or type(error).__name__
