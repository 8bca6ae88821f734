"""A cache in memory, bounded in bytes, of what was read: raw tables and images, and the tasks made of them."""

import contextlib
import dataclasses
import functools
import sys
import threading
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from cachetools import LRUCache, cached
from torch import Tensor

from psilon_bench.errors import UsageError

RAW_BYTES = 1 << 29
TASK_BYTES = 1 << 28
SHAPE_BYTES = 1 << 24
LOCK = threading.RLock()
Function = TypeVar("Function", bound=Callable[..., Any])
CacheKey = tuple[Hashable, ...]


class Bounded(LRUCache[Any, Any]):
    """A cache whose values take at most `limit` bytes together; the values used longest ago are dropped first.

    A value larger than the limit is kept alone, so that the value used last is always at hand.
    """

    def __init__(self, limit: int) -> None:
        """Make an empty cache for `limit` bytes."""
        super().__init__(limit, getsizeof=lambda value: min(limit, size_of(value)))


raw = Bounded(RAW_BYTES)  # of all sources together
tasks = Bounded(TASK_BYTES)
shapes = Bounded(SHAPE_BYTES)


def cached_by_bytes(cache: Bounded, key: Callable[..., CacheKey]) -> Callable[[Function], Function]:
    """Return a decorator that keeps a function's results in `cache`; results are shared, so no caller may change them.

    `key` gets the arguments of a call and returns everything that decides the result, such as `file_key` of a file.
    """

    def decorate(function: Function) -> Function:
        def own(*args: Any, **kwargs: Any) -> CacheKey:
            return (function, *key(*args, **kwargs))

        return cached(cache, key=own, lock=LOCK)(function)  # type: ignore[return-value]

    return decorate


def file_key(path: Path) -> CacheKey:
    """Return a key that changes with a file, or a file in a folder: path, size, time of change and inode."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return (str(path.absolute()), *map(file_stamp, files))


def file_stamp(file: Path) -> CacheKey:
    """Return path, size, time of change (ns) and inode of a file; the path alone where the file does not exist."""
    try:
        stat = file.stat()
    except OSError:
        return (str(file.absolute()),)
    return (str(file.absolute()), stat.st_size, stat.st_ctime_ns, stat.st_ino)


@contextlib.contextmanager
def unchanged(*paths: Path | str | None) -> Iterator[None]:
    """Raise UsageError on leaving the context where one of these files changed within it; None stands for no file.

    Data and their checksum are read within it, so that the checksum is that of the data.
    """
    before = [file_key(Path(path)) for path in paths if path is not None]
    yield
    if before != [file_key(Path(path)) for path in paths if path is not None]:
        names = ", ".join(str(path) for path in paths if path is not None)
        raise UsageError(f"{names} changed while it was read. Give the same command again when it stays as it is.")


def requires_unchanged(*names: str) -> Callable[[Function], Function]:
    """Return a decorator for a source, called by keywords: the files of these arguments may not change meanwhile.

    The decorated function raises UsageError where one of them did.
    """

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def watched(**arguments: Any) -> Any:
            with unchanged(*(arguments[name] for name in names)):
                return function(**arguments)

        return watched  # type: ignore[return-value]

    return decorate


@functools.singledispatch
def size_of(value: Any) -> int:
    """Return the bytes of tensors, arrays and data frames, those in containers and dataclasses included.

    The size of any other object is a lower bound: what it refers to is not counted.
    """
    if dataclasses.is_dataclass(value):
        return sum(size_of(getattr(value, field.name)) for field in dataclasses.fields(value))
    return sys.getsizeof(value)


@size_of.register
def _(value: Tensor) -> int:
    """Return the bytes of the storage that the tensor views."""
    return value.untyped_storage().nbytes()


@size_of.register
def _(value: np.ndarray) -> int:
    """Return the bytes of the array."""
    return value.nbytes


@size_of.register
def _(value: pd.DataFrame) -> int:
    """Return the bytes of the frame, its text included."""
    return int(value.memory_usage(deep=True).sum())


@size_of.register(list)
@size_of.register(tuple)
def _(value: Any) -> int:
    """Return the bytes of the elements."""
    return sum(map(size_of, value))


@size_of.register(dict)
def _(value: dict[Any, Any]) -> int:
    """Return the bytes of the values."""
    return sum(map(size_of, value.values()))
