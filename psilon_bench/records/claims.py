"""The right to train a run: one process at a time has it, by a lock of the run's own."""

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from psilon_bench.config.schema import Config
from psilon_bench.errors import RecordsFailed
from psilon_bench.records.checkpoint import Say, checkpoints_of


@contextmanager
def claimed(configs: Sequence[Config], wait: bool, say: Say) -> Iterator[set[str]]:
    """Within, this process alone may train the runs whose identities are given here; a killed process loses its claims.

    wait: until all of them are free, in an order that all processes keep, so that none waits for one that waits for it.
    RecordsFailed where the folder cannot be written.
    """
    folder = checkpoints_of(configs[0])
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            keys = sorted({config.identity.key for config in configs})
            mine = {key for key in keys if claim(folder / f"{key}.lock", stack)}
            if wait and len(mine) < len(keys):
                say(f"{len(keys) - len(mine)} runs are trained by another process; waiting for it.")
                stack.close()
                mine = {key for key in keys if claim(folder / f"{key}.lock", stack, patience=-1)}
        except OSError as error:
            raise RecordsFailed(f"{error.filename or folder} cannot be written ({error.strerror or error})") from error
        yield mine


def claim(path: Path, stack: ExitStack, patience: float = 0) -> bool:
    """Take one lock; it and its file go when the stack is left. A waiting process then makes a file of its own."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        return False
    stack.callback(release, lock)
    return True


def release(lock: FileLock) -> None:
    """Remove the file while it is held: filelock sees that what it has locked has no name any more, and starts over."""
    with contextlib.suppress(OSError):  # a folder that cannot be written any more
        Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()
