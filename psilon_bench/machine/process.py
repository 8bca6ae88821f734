"""Which process computes a run, and whether it still does."""

import hashlib
import os
import socket
from functools import lru_cache
from pathlib import Path
from typing import Any

import psutil
from pydantic import BaseModel, ValidationError


class Process(BaseModel):
    """What run.json says of the process. On Linux `began` counts from the start of the machine, which `boot` names."""

    host: str
    pid: int
    began: float
    boot: str | None = None
    machine: str | None = None
    namespace: str | None = None  # containers count their processes each for itself


def this_process() -> dict[str, Any]:
    """The process that asks."""
    own = psutil.Process()
    return place() | {"pid": own.pid, "began": since_boot(own) if place()["boot"] else own.create_time()}


@lru_cache(maxsize=1)  # the same for all that this process may ask, and for those that it forks
def place() -> dict[str, Any]:
    """Where this process runs."""
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
    """Whether the process of this run.json has ended, as far as can be told from here: False where it cannot.

    No name of a host tells a machine for certain, but the boot id does; within one boot a process is told by its number
    and by when it began, which no step of the clock moves.
    """
    try:
        process = Process.model_validate(run.get("process"))
    except ValidationError:
        return False
    here = Process.model_validate(this_process())
    if process.boot is None or here.boot is None:
        return process.host == here.host and not lives(process, by_clock=True)
    if process.boot != here.boot:  # another machine, unless this one has been started anew
        return process.machine is not None and (process.machine, process.host) == (here.machine, here.host)
    return process.namespace == here.namespace and not lives(process, by_clock=False)


def lives(process: Process, by_clock: bool) -> bool:
    """Whether its number is that of a process now, and not used anew."""
    try:
        found = psutil.Process(process.pid)
        began = found.create_time() if by_clock else since_boot(found)
        return found.status() != psutil.STATUS_ZOMBIE and abs(began - process.began) < 1
    except (psutil.NoSuchProcess, ValueError, OverflowError):  # or no number of a process
        return False


def since_boot(process: psutil.Process) -> float:
    """Seconds from the start of the machine to that of the process; the clock moves both that psutil gives."""
    return round(process.create_time() - psutil.boot_time(), 2)


def namespace() -> str | None:
    """What tells one container's processes from another's, where there is such a thing."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


def text_of(path: str) -> str | None:
    """What a file of the system holds, where there is one."""
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except OSError:
        return None
