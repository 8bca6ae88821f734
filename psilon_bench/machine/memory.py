"""How much memory there is."""

import psutil
import torch

from psilon_bench.errors import UsageError

CPU = torch.device("cpu")


def free_bytes(device: torch.device) -> int:
    """What nobody uses."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return int(psutil.virtual_memory().available)


def check_free(need: int, what: str, remedy: str, device: torch.device = CPU) -> None:
    """UsageError where `what`, the beginning of a sentence, needs more than there is."""
    if need > (free := free_bytes(device)):
        raise UsageError(f"{what} takes about {in_units(need)} of memory, and {in_units(free)} are free. {remedy}")


def in_units(size: int) -> str:
    """Bytes as people say them."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"
