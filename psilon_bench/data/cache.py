"""What was read stays in memory, up to a number of bytes: raw tables and images, and the tasks made of them."""

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
    """Values of at most so many bytes together, the least recently used go first; the last one stays in any case."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit, getsizeof=lambda value: min(limit, size_of(value)))


raw = Bounded(RAW_BYTES)  # of all sources together
tasks = Bounded(TASK_BYTES)
shapes = Bounded(SHAPE_BYTES)


def cached_by_bytes(cache: Bounded, key: Callable[..., CacheKey]) -> Callable[[Function], Function]:
    """Decorates a function whose results are kept in `cache`; they are shared, so nobody may change them.

    key: of the arguments, all that decides the result, such as `file_key` of a file that is read.
    """

    def decorate(function: Function) -> Function:
        def own(*args: Any, **kwargs: Any) -> CacheKey:
            return (function, *key(*args, **kwargs))

        return cached(cache, key=own, lock=LOCK)(function)  # type: ignore[return-value]

    return decorate


def file_key(path: Path) -> CacheKey:
    """What changes where the content of a file changes, or of a file in a folder: place, size, time of change."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return (str(path.absolute()), *map(file_stamp, files))


def file_stamp(file: Path) -> CacheKey:
    """Place, size, time of change and inode of a file; its place alone where it is not there (any more)."""
    try:
        stat = file.stat()
    except OSError:
        return (str(file.absolute()),)
    return (str(file.absolute()), stat.st_size, stat.st_ctime_ns, stat.st_ino)


@contextlib.contextmanager
def unchanged(*paths: Path | str | None) -> Iterator[None]:
    """Around the reading of files and of their checksum: UsageError where one of them changed in the meantime."""
    before = [file_key(Path(path)) for path in paths if path is not None]
    yield
    if before != [file_key(Path(path)) for path in paths if path is not None]:
        names = ", ".join(str(path) for path in paths if path is not None)
        raise UsageError(f"{names} changed while it was read. Give the same command again when it stays as it is.")


def requires_unchanged(*names: str) -> Callable[[Function], Function]:
    """Decorates a source of data, called by keywords: the files of these arguments may not change while it reads."""

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def watched(**arguments: Any) -> Any:
            with unchanged(*(arguments[name] for name in names)):
                return function(**arguments)

        return watched  # type: ignore[return-value]

    return decorate


@functools.singledispatch
def size_of(value: Any) -> int:
    """Bytes of tensors, arrays and data frames, in containers and dataclasses too; of other objects a lower bound."""
    if dataclasses.is_dataclass(value):
        return sum(size_of(getattr(value, field.name)) for field in dataclasses.fields(value))
    return sys.getsizeof(value)


@size_of.register
def _(value: Tensor) -> int:
    return value.untyped_storage().nbytes()


@size_of.register
def _(value: np.ndarray) -> int:
    return value.nbytes


@size_of.register
def _(value: pd.DataFrame) -> int:
    return int(value.memory_usage(deep=True).sum())


@size_of.register(list)
@size_of.register(tuple)
def _(value: Any) -> int:
    return sum(map(size_of, value))


@size_of.register
def _(value: dict) -> int:
    return sum(map(size_of, value.values()))
