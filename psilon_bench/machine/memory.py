"""The memory that is free."""

import psutil
import torch

from psilon_bench.errors import UsageError

CPU = torch.device("cpu")


def free_bytes(device: torch.device) -> int:
    """Return the free memory of a device in bytes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return int(psutil.virtual_memory().available)


def check_free(need: int, what: str, remedy: str, device: torch.device = CPU) -> None:
    """Raise UsageError where `need` bytes are not free; `what` is the beginning of the sentence that says so."""
    if need > (free := free_bytes(device)):
        raise UsageError(f"{what} takes about {in_units(need)} of memory, and {in_units(free)} are free. {remedy}")


def in_units(size: int) -> str:
    """Return a number of bytes as people say it: 1.5 GB."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"
