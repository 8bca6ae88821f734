"""Which process computes a run, and whether it still does."""

import os
import socket
from typing import Any

import psutil


def this_process() -> dict[str, Any]:
    """What run.json says of the process."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "began": psutil.Process().create_time()}


def is_gone(run: dict[str, Any]) -> bool:
    """Whether the process of this run.json has ended, as far as this machine can tell: False for one on another."""
    process = run["process"]
    if process["host"] != socket.gethostname():
        return False
    try:
        found = psutil.Process(process["pid"])
        return (
            found.status() == psutil.STATUS_ZOMBIE or found.create_time() > process["began"] + 1
        )  # a number used anew
    except psutil.NoSuchProcess:
        return True
