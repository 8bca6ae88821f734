"""Identifies processes across machines and restarts, tells whether one still lives, and detaches a worker."""

import hashlib
import multiprocessing
import os
import signal
import socket
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

import psutil
from pydantic import BaseModel, ValidationError


class ProcessIdentity(BaseModel):
    """The process that computes a run, as run.json names it.

    On Linux `began` counts from the start of the machine, which `boot` names; elsewhere from 1970.
    """

    host: str
    pid: int
    began: float
    boot: str | None = None
    machine: str | None = None
    namespace: str | None = None  # containers count their processes each for itself


def this_process() -> dict[str, Any]:
    """Return the identity of this process, for run.json."""
    process = psutil.Process()
    began = since_boot(process) if this_machine()["boot"] else process.create_time()
    return this_machine() | {"pid": process.pid, "began": began}


@lru_cache(maxsize=1)  # the same for all that this process may ask, and for those that it forks
def this_machine() -> dict[str, Any]:
    """Return what tells this machine, its boot and this container from others."""
    boot = text_of("/proc/sys/kernel/random/boot_id")
    machine = text_of("/etc/machine-id")
    return {
        "host": socket.gethostname(),
        "boot": boot,
        # the name itself is to be kept from others, says machine-id(5)
        "machine": machine and hashlib.sha256(f"psilon_bench {machine}".encode()).hexdigest()[:16],
        "namespace": namespace(),
    }


def is_gone(run: dict[str, Any]) -> bool:
    """Return whether the process of this run.json has ended, as far as can be told from here: False where it cannot.

    No name of a host tells a machine for certain, but the boot id does; within one boot a process is told by its number
    and by when it began, which no step of the clock moves.
    """
    try:
        process = ProcessIdentity.model_validate(run.get("process"))
    except ValidationError:
        return False
    here = ProcessIdentity.model_validate(this_process())
    if process.boot is None or here.boot is None:
        return process.host == here.host and not lives(process, by_clock=True)
    if process.boot != here.boot:  # another machine, unless this one has been started anew
        return process.machine is not None and (process.machine, process.host) == (here.machine, here.host)
    return process.namespace == here.namespace and not lives(process, by_clock=False)


def lives(process: ProcessIdentity, by_clock: bool) -> bool:
    """Return whether a process with this number lives, and is the same: numbers are used again."""
    try:
        found = psutil.Process(process.pid)
        began = found.create_time() if by_clock else since_boot(found)
        return found.status() != psutil.STATUS_ZOMBIE and abs(began - process.began) < 1
    except (psutil.NoSuchProcess, ValueError, OverflowError):  # or no number of a process
        return False


def since_boot(process: psutil.Process) -> float:
    """Return seconds from the start of the machine to that of the process; a step of the clock moves both alike."""
    return round(process.create_time() - psutil.boot_time(), 2)


def namespace() -> str | None:
    """Return what tells one container's processes from another's; None where the system has no such thing."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


def text_of(path: str) -> str | None:
    """Return the text of a file of the system; None where there is no such file or text."""
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def leave_terminal() -> None:
    """Give this process a session of its own: Ctrl-C on the terminal is not sent to it."""
    if hasattr(os, "setsid"):
        os.setsid()


def end_with_parent() -> None:
    """Send SIGTERM to this process when its parent, which started it by multiprocessing, has ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
