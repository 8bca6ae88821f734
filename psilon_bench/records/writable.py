"""Finds out whether a folder could be written, without leaving anything there."""

import uuid
from pathlib import Path


def probe(folder: Path) -> None:
    """Raise OSError unless this folder could be made, or is there and takes files."""
    folder = folder.absolute()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    attempt = existing / f".psilon-{uuid.uuid4().hex}"
    attempt.mkdir()
    attempt.rmdir()
