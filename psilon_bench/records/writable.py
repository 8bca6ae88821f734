"""Whether something could be written at a place, found out without leaving anything there."""

import uuid
from pathlib import Path


def probe(folder: Path) -> None:
    """OSError unless this folder could be made, or is there and takes files."""
    folder = folder.absolute()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    attempt = existing / f".psilon-{uuid.uuid4().hex}"
    attempt.mkdir()
    attempt.rmdir()
