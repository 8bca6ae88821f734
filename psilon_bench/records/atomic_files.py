"""Files that are written whole or not at all, and are on the disk once they are said to be there.

A file is written under another name and renamed: whoever reads it sees the old one or the new one. Where it must also
outlast a power cut, it is flushed to the disk before the renaming, and the folder that names it after it.
"""

import contextlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic_write(path: Path, flushed: bool = True) -> Iterator[Path]:
    """Yield a temporary path to write to; the file becomes `path` at the end, and is removed after an exception."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        if flushed:
            flush(part)
        part.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):  # a folder that cannot be written any more
            part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)  # what the reader of the message knows
        raise
    if flushed:
        flush(path.parent)


def write_text(path: Path, text: str, flushed: bool = True) -> None:
    """Write a text file (UTF-8) whole or not at all."""
    with atomic_write(path, flushed) as part:
        part.write_text(text, encoding="utf-8")


def write_tensors(path: Path, content: dict[str, Any], flushed: bool = True) -> None:
    """Write nested tensors, which torch.load reads, whole or not at all.

    The file is put together in memory first: where a disk is full, torch.save raises a RuntimeError that names no file.
    """
    import torch  # seconds, which the process that sends to MLflow does not spend

    buffer = io.BytesIO()
    torch.save(content, buffer)
    with atomic_write(path, flushed) as part:
        part.write_bytes(buffer.getbuffer())


def flush(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk. Windows flushes no folders."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
