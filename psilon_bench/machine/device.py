"""Where and in what precision a run computes."""

import ctypes
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from psilon_bench.config.sections import HardwareSection
from psilon_bench.errors import UsageError

# hardware.precision -> type of the parameters, type of autocast
PRECISIONS = {
    "float32": (torch.float32, None),
    "tf32": (torch.float32, None),
    "float64": (torch.float64, None),
    "bfloat16": (torch.float32, torch.bfloat16),
    "auto": (torch.float32, None),  # until a trial has shown what is faster: precision.autocast_of
}
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # <malloc.h>


@dataclass(frozen=True)
class Place:
    """Device, type of the parameters, and the type of autocast where there is one."""

    device: torch.device
    dtype: torch.dtype
    autocast: torch.dtype | None


def place(hardware: HardwareSection) -> Place:
    """UsageError where the device asked for is not there."""
    dtype, autocast = PRECISIONS[hardware.precision]
    device = find_device(hardware.device)
    if hardware.precision == "tf32" and device.type != "cuda":
        raise UsageError(
            f"hardware.precision=tf32 is a GPU's, and this runs on {device}. Set hardware.precision=float32."
        )
    return Place(device, dtype, autocast)


def find_device(name: str) -> torch.device:
    """`auto` takes a GPU where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[device.type]
    if (device.index or 0) >= there:
        raise UsageError(
            f"hardware.device={name} is not there ({there} {device.type} devices). Set hardware.device=cpu or auto."
        )
    return device


@contextmanager
def threads(number: int | None) -> Iterator[None]:
    """Within, torch uses so many; None leaves it as it is."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def set_tf32(hardware: HardwareSection) -> None:
    """Let a GPU round the factors of float32 products and convolutions to 10 bits where asked for, and only there."""
    allowed = "tf32" if hardware.precision == "tf32" else "ieee"
    torch.backends.cuda.matmul.fp32_precision = allowed
    torch.backends.cudnn.conv.fp32_precision = allowed  # type: ignore[attr-defined]


def set_up() -> None:
    """How this process computes from now on; before its first computation, for torch's threads inherit it."""
    keep_freed_memory()
    set_up_arithmetic()


def keep_freed_memory() -> None:
    """Blocks of up to 32 MB, and 256 MB of what is freed at the end of the heap, stay with the process.

    glibc gives freed memory back and asks for it again, page by page, hundreds of times a training step: a tenth to a
    quarter of its time. Elsewhere this does nothing.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 25)  # the largest that glibc takes
        libc.mallopt(M_TRIM_THRESHOLD, 1 << 28)


def set_up_arithmetic() -> None:
    """What rounds to zero, and who multiplies matrices.

    What is below 1e-38 counts as 0: a matrix product with weights that weight decay has shrunk that far takes 100
    times as long. float32 products are oneDNN's where that rounds no factor: on a processor with AVX512-BF16 and
    without AMX they take half the time of MKL's, which has no AVX512 for AMD. The setting allows oneDNN to round
    factors to bfloat16, which it does with AMX alone; therefore a product is tried.
    """
    torch.set_flush_denormal(True)
    products = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    products.fp32_precision = "bf16"
    if not exact(torch.mm):
        products.fp32_precision = "ieee"


def exact(product: Callable[[Tensor, Tensor], Tensor]) -> bool:
    """Whether a product of float32 matrices rounds as float32 does, not to the 10 or 7 bits of tf32 and bfloat16."""
    x = torch.linspace(-1, 1, 128**2).view(128, 128)
    return torch.allclose(product(x, x).double(), x.double() @ x.double(), rtol=0, atol=1e-3)
