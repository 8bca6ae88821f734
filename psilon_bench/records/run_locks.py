"""Locks of runs: of all processes at most one trains a run."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from psilon_bench.config.schema import Config
from psilon_bench.errors import RecordsFailed
from psilon_bench.records import places


@contextmanager
def locked_runs(configs: Sequence[Config], wait: bool, say: Callable[[str], None]) -> Iterator[set[str]]:
    """Lock these runs within the block, and yield the identities of those that were locked; only these may be trained.

    wait: until all of them are free. Every process locks in the order of the identities, so that no two wait for each
    other. A process that is killed loses its locks. RecordsFailed where the folder cannot be written.
    """
    sweep = places.sweep_folder(configs[0])
    with ExitStack() as held:
        try:
            places.checkpoints_folder(sweep).mkdir(parents=True, exist_ok=True)
            keys = sorted({config.identity.key for config in configs})
            locked = {key for key in keys if lock_run(places.run_lock(sweep, key), held)}
            if wait and len(locked) < len(keys):
                say(f"{len(keys) - len(locked)} runs are trained by another process; waiting for it.")
                held.close()
                locked = {key for key in keys if lock_run(places.run_lock(sweep, key), held, timeout=-1)}
        except OSError as error:
            folder = error.filename or places.checkpoints_folder(sweep)
            raise RecordsFailed(f"{folder} cannot be written ({error.strerror or error})") from error
        yield locked


def lock_run(path: Path, held: ExitStack, timeout: float = 0) -> bool:
    """Take one lock until `held` is left; return False where it is not free within `timeout` seconds.

    The file is removed with the lock, and a process that waits for it makes it anew. A negative timeout waits for ever.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        return False
    held.callback(unlock_run, lock)
    return True


def unlock_run(lock: FileLock) -> None:
    """Remove the file while it is locked: filelock sees that the file it waited for is gone, and starts over."""
    with contextlib.suppress(OSError):  # a folder that cannot be written any more
        Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()
