"""The data cache on disk: a folder for each entry, complete or absent, with a checksum of every file in it.

    ROOT/<kind>/<id>/about.json         what it is, where it came from, sha256 of the other files
    ROOT/<kind>/<id>/data.parquet       the rows (an entry of a task has none: it points at a data set)
    ROOT/.locks, ROOT/.making, ROOT/.damaged

An entry is made in ROOT/.making and renamed to its place, so that a kill at any moment leaves it absent. Each entry has
a lock, so that of many processes that want it at once one makes it. An entry whose bytes changed is moved to
ROOT/.damaged and made anew.
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from platformdirs import user_cache_path

from psilon_bench.errors import UsageError

About = dict[str, Any]
EntryMaker = Callable[[Path], About]  # writes data files into the folder it is given, returns what about.json shall say
SCRATCH = "scratch"  # a folder that `make` may use inside of its own; not kept


@dataclass(frozen=True)
class Entry:
    """An entry that was read and whose checksums are right; `about` is the content of about.json."""

    key: str
    path: Path
    about: About

    @property
    def table(self) -> Path:
        """Return the path of the rows."""
        return self.path / "data.parquet"


class DamagedEntry(Exception):
    """The entry exists, but not as it was written."""


def cache_folder() -> Path:
    """Return the user's cache folder; of a user without a home, as in containers, a temporary folder."""
    try:
        return user_cache_path("psilon_bench")
    except RuntimeError:  # there is no home
        return Path(tempfile.gettempdir(), f"psilon_bench-{os.getuid()}")


def root() -> Path:
    """Return the folder of the cache: PSILON_DATA, or the user's cache folder."""
    return Path(os.environ.get("PSILON_DATA") or cache_folder() / "data").expanduser().absolute()


def entries() -> Iterator[str]:
    """Yield the key KIND/ID of every entry, numbers in order of their value."""
    for about in sorted(root().glob("[!.]*/*/about.json"), key=lambda p: (p.parts[-3], p.parts[-2].zfill(12))):
        yield f"{about.parts[-3]}/{about.parts[-2]}"


def read_about(key: str) -> About:
    """Return the content of about.json for a list of entries; a name that says so where it cannot be read.

    No checksum is looked at; runs use `read_entry`.
    """
    try:
        return dict(json.loads((root() / key / "about.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {"name": "not readable; see psilon-data verify"}


def read_entry(key: str) -> Entry | None:
    """Return an entry; None where it does not exist. Raises DamagedEntry where a checksum differs."""
    path = root() / key
    try:
        about = json.loads((path / "about.json").read_text(encoding="utf-8"))
        sums = about["sha256"]
    except (FileNotFoundError, NotADirectoryError):
        if path.exists():
            raise DamagedEntry(f"{path} has no about.json") from None
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedEntry(f"{path / 'about.json'} is not readable: {error}") from error
    for name, expected in sums.items():
        if not (path / name).is_file() or file_sha256(path / name) != expected:
            raise DamagedEntry(f"{path / name} does not match its checksum")
    return Entry(key, path, about)


def obtain(key: str, make: EntryMaker, *, offline: bool, remedy: str) -> Entry:
    """Return an entry, made first where it is missing or damaged.

    `make` writes the files into the folder it gets and returns what about.json is to say. Raises UsageError where
    `offline` forbids making it; `remedy` then says how to get it.
    """
    try:
        found = read_entry(key)
    except DamagedEntry as damage:
        if offline:
            raise UsageError(f"Cached data must be whole, but {damage}. {remedy}") from None
    else:
        if found:
            return found
        if offline:
            raise UsageError(f"With dataset.offline=true only cached data can be read, and {key} is not. {remedy}")
    return _make_locked(key, make)


def _make_locked(key: str, make: EntryMaker) -> Entry:
    """Return the entry, made under its lock where no other process has made it meanwhile."""
    with _lock(key):
        try:
            found = read_entry(key)
        except DamagedEntry:
            _set_aside(key)
            found = None
        return found or _make(key, make)


def _make(key: str, make: EntryMaker) -> Entry:
    """Make an entry in ROOT/.making, rename it to its place, and return it."""
    making = root() / ".making" / _flat(key)
    shutil.rmtree(making, ignore_errors=True)  # what a killed process left; the lock says nobody else is at it
    making.mkdir(parents=True)
    try:
        about = make(making)
        shutil.rmtree(making / SCRATCH, ignore_errors=True)
        sums = {p.name: file_sha256(p) for p in sorted(making.iterdir())}
        (making / "about.json").write_text(json.dumps({**about, "sha256": sums}, indent=1), encoding="utf-8")
        place = root() / key
        place.parent.mkdir(parents=True, exist_ok=True)
        making.rename(place)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    entry = read_entry(key)
    assert entry is not None
    return entry


def _set_aside(key: str) -> None:
    """Move a damaged entry to ROOT/.damaged."""
    place = root() / ".damaged" / f"{_flat(key)}-{time.time_ns()}"
    place.parent.mkdir(parents=True, exist_ok=True)
    (root() / key).rename(place)


def _lock(key: str) -> FileLock:
    """Return the lock of an entry; UsageError where the cache cannot be written."""
    folder = root() / ".locks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"The data cache must be writable, but {root()} is not ({error.strerror}). Set PSILON_DATA to a folder."
        ) from error
    return FileLock(folder / f"{_flat(key)}.lock")


def _flat(key: str) -> str:
    """Return a key as a file name."""
    return key.replace("/", "-")


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
