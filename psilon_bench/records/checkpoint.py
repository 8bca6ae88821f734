"""Checkpoints of stacks: the state of the trainer and the histories so far, until all records are closed."""

import contextlib
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
from psilon_bench.data.store import file_sha256
from psilon_bench.errors import in_one_line
from psilon_bench.records import places
from psilon_bench.records.atomic_files import write_tensors, write_text

ROOM_FOR_TEXT = 65_536  # bytes for what is written of a member beside tensors
Say = Callable[[str], None]


class CheckpointIndex(BaseModel):
    """The content of <id>.json: the members, their records, and which file holds the state."""

    model_config = ConfigDict(extra="forbid")
    identities: Annotated[list[Identity], Field(min_length=1)]
    paths: list[dict[str, str]]  # for each member the files that its data come from
    heats: list[int] = []  # of a race the number of members in each heat
    records: list[Annotated[str, Field(pattern=r"^[\w.+-]+$")]]  # the names of their folders, in that of the sweep
    sweep: str  # the sweep's folder; where this file lies in the user's cache, nothing else tells it
    file: Annotated[str, Field(pattern=r"^[0-9a-f]{16}-\d+\.pt$")]
    sha256: str

    @model_validator(mode="after")
    def one_of_each(self) -> "CheckpointIndex":
        """Check that every member has an identity, paths and a record; ValueError otherwise."""
        if not len(self.identities) == len(self.paths) == len(self.records):
            raise ValueError("identities, paths and records should be equally many")
        return self

    @property
    def keys(self) -> list[str]:
        """Return the identities of the members."""
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

    sweep: Path  # the folder of the sweep
    configs: Sequence[Config]
    heats: Sequence[int] = ()  # of a race the number of members in each heat

    @classmethod
    def of(cls, configs: Sequence[Config], heats: Sequence[int] = ()) -> "Checkpoint":
        """Return the checkpoint of a stack, or of a race in these heats, whether there is one or not."""
        return cls(places.sweep_folder(configs[0]), configs, heats)

    @property
    def folder(self) -> Path:
        """Return the folder where the files of the checkpoint belong."""
        return places.checkpoints_folder(self.sweep)

    @property
    def id(self) -> str:
        """Return what the names of its files begin with."""
        keys = [config.identity.key for config in self.configs]
        return digest([keys, list(self.heats)] if self.heats else keys)

    @property
    def folders(self) -> list[Path]:
        """Return the folders in which it may lie, the usual one first."""
        return [self.folder, places.cached_checkpoints_folder()]

    @property
    def reserve(self) -> Path:
        """Return the file that keeps disk space free for the state, so that a full disk costs no trained network."""
        return places.checkpoint_reserve(self.folder, self.id)

    def exists(self) -> bool:
        """Return whether there is a checkpoint of this stack."""
        return any(places.checkpoint_index(folder, self.id).exists() for folder in self.folders)

    def keep_room(self, state: dict[str, Any]) -> None:
        """Reserve disk space for this state and what an optimizer adds to it; OSError where there is less."""
        stacks = state.get("heats", [state])
        parameters = sum(bytes_in(stack.get("tensors", {})) for stack in stacks)
        size = bytes_in(state) + 2 * parameters + ROOM_FOR_TEXT * len(self.configs)
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.reserve.open("wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)

    def save(self, fit: dict[str, Any], folders: Sequence[Path], rows: Sequence[list[dict[str, float]]]) -> Path:
        """Replace the checkpoint, where need be in the reserved space, and return the folder it lies in."""
        content = {"fit": fit, "rows": list(rows)}
        attempts = [(self.folder, False), (self.folder, True), (places.cached_checkpoints_folder(), True)]
        for folder, without_reserve in attempts:
            try:
                if without_reserve:
                    self.release_room()
                self.save_to(folder, content, folders)
                return folder
            except OSError as error:
                problem = error
        raise problem

    def release_room(self) -> None:
        """Give the reserved space back; in a folder that cannot be written there is none."""
        with contextlib.suppress(OSError):
            self.reserve.unlink(missing_ok=True)

    def save_to(self, folder: Path, content: dict[str, Any], records: Sequence[Path]) -> None:
        """Write the state, then the file that names it, then remove what was named before."""
        folder.mkdir(parents=True, exist_ok=True)
        before = places.checkpoint_states(folder, self.id)
        path = places.new_checkpoint_state(folder, self.id)
        write_tensors(path, content)
        index = CheckpointIndex(
            identities=[config.identity for config in self.configs],
            heats=list(self.heats),
            paths=[config.dataset.resolved() for config in self.configs],
            records=[record.name for record in records],
            sweep=str(self.sweep),
            file=path.name,
            sha256=file_sha256(path),
        )
        write_text(places.checkpoint_index(folder, self.id), index.model_dump_json())
        for old in before:
            old.unlink(missing_ok=True)

    def load(self, say: Say) -> Found | None:
        """Return what it holds; None where there is none. One that is damaged is set aside, and said."""
        for folder in self.folders:
            index = read_index(places.checkpoint_index(folder, self.id), say)
            if index is None:
                continue
            try:
                return read_state(folder, index, self.sweep)
            except Exception as error:  # whatever a file that was cut or overwritten may raise
                self.set_aside(f"is damaged ({reason_of_damage(error)})", say)
        return None

    def set_aside(self, why: str, say: Say) -> None:
        """Move it out of the way, wherever it lies."""
        for folder in self.folders:
            if (path := places.checkpoint_index(folder, self.id)).exists():
                set_aside(path, why, say)

    def remove(self) -> None:
        """Remove all of its files, after the records are closed."""
        self.release_room()
        for folder in self.folders:
            places.checkpoint_index(folder, self.id).unlink(missing_ok=True)
            for path in places.checkpoint_states(folder, self.id):
                path.unlink(missing_ok=True)


def read_state(folder: Path, index: CheckpointIndex, sweep: Path) -> Found:
    """Return what the named file holds; an exception of any kind where it is not what it was."""
    path = folder / index.file
    if file_sha256(path) != index.sha256:
        raise ValueError("its checksum differs")
    with torch.serialization.safe_globals([Counter]):  # the milestones of MultiStepLR are a Counter
        content = torch.load(path, weights_only=True, map_location="cpu")
    return Found(content["fit"], [sweep / record for record in index.records], content["rows"])


def read_index(path: Path, say: Say) -> CheckpointIndex | None:
    """Return what <id>.json says; None where there is none, or where it is damaged, which is said."""
    try:
        return CheckpointIndex.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        set_aside(path, f"is damaged ({reason_of_damage(error)})", say)
        return None


def set_aside(index: Path, why: str, say: Say) -> None:
    """Move the files of a checkpoint out of the way, into a folder beside them, and say so in one line."""
    aside = places.outdated_checkpoints_folder(index.parent)
    with contextlib.suppress(OSError):  # a folder that cannot be written: nothing is lost by leaving it
        places.checkpoint_reserve(index.parent, index.stem).unlink(missing_ok=True)
        aside.mkdir(exist_ok=True)
        for path in [index, *places.checkpoint_states(index.parent, index.stem)]:
            path.replace(aside / path.name)
    say(f"the checkpoint {index.name} {why}; it is set aside in {aside}, and its runs train from the start.")


def unfinished(config: Config, say: Say = lambda _: None) -> list[CheckpointIndex]:
    """Return what every checkpoint holds of the folder that this configuration's record is in."""
    return [index for _, index in all_indices(config, say)]


def set_aside_outdated(configs: Sequence[Config], say: Say, only_say: bool = False) -> None:
    """Set aside the checkpoints of these runs that are of other data or of other code, and say what changed."""
    wanted = {(config.fingerprint(), tuple(sorted(config.dataset.resolved().items()))): config for config in configs}
    for path, index in all_indices(configs[0], say):
        for identity, paths in zip(index.identities, index.paths, strict=False):
            config = wanted.get((identity.fingerprint, tuple(sorted(paths.items()))))
            if config is not None and config.identity != identity:
                why = f"does not count, for {difference(identity, config.identity)}"
                say(f"the checkpoint {path.name} {why}.") if only_say else set_aside(path, why, say)
                break


def all_indices(config: Config, say: Say) -> Iterator[tuple[Path, CheckpointIndex]]:
    """Yield every file that names members, and what it says, for the folder of this configuration's record."""
    sweep = places.sweep_folder(config)
    folders = places.checkpoints_folder(sweep), places.cached_checkpoints_folder()
    for path in [path for folder in folders for path in places.checkpoint_indices(folder)]:
        index = read_index(path, say)
        if index is not None and (path.parent == folders[0] or index.sweep == str(sweep)):
            yield path, index


def bytes_in(value: Any) -> int:
    """Return the size of all tensors in nested containers."""
    if isinstance(value, torch.Tensor):
        return value.nbytes
    if isinstance(value, dict):
        return sum(map(bytes_in, value.values()))
    return sum(map(bytes_in, value)) if isinstance(value, list | tuple) else 0


def reason_of_damage(error: Exception) -> str:
    """Return the first words of what is wrong with a file, in one line."""
    return in_one_line(error, 100) or type(error).__name__
