"""How torch computes in this process: threads, rounding, denormal numbers, matrix products, memory."""

import ctypes
import functools
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor

from psilon_bench.config.sections import HardwareSection

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # <malloc.h>


@contextmanager
def torch_threads(number: int | Literal["auto"] | None) -> Iterator[None]:
    """Let torch use so many threads within the block, as `set_threads` has it; the block may change the number."""
    before = torch.get_num_threads()
    set_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def set_threads(number: int | Literal["auto"] | None) -> None:
    """Let torch use so many threads from now on; None leaves the number as it is.

    auto: as many as the process may have, until a trial chooses.
    """
    most = most_threads()  # asked before the number first changes
    if number is not None:
        torch.set_num_threads(most if number == "auto" else number)


@functools.cache
def most_threads() -> int:
    """Return how many threads torch has in this process unless told otherwise: of cores, or OMP_NUM_THREADS."""
    return torch.get_num_threads()


def set_tf32(hardware: HardwareSection) -> None:
    """Let a GPU round the factors of float32 products and convolutions to 10 bits where asked for, and only there."""
    allowed = "tf32" if hardware.precision == "tf32" else "ieee"
    torch.backends.cuda.matmul.fp32_precision = allowed
    torch.backends.cudnn.conv.fp32_precision = allowed  # type: ignore[attr-defined]


def set_up() -> None:
    """Set how this process computes, before its first computation, for torch's threads inherit it."""
    keep_freed_memory()
    set_up_arithmetic()


def keep_freed_memory() -> None:
    """Keep freed memory with the process: blocks of up to 32 MB, and 256 MB at the end of the heap.

    glibc gives freed memory back and asks for it again, page by page, hundreds of times a training step: a tenth to a
    quarter of its time. Elsewhere this does nothing.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 25)  # the largest that glibc takes
        libc.mallopt(M_TRIM_THRESHOLD, 1 << 28)


def set_up_arithmetic() -> None:
    """Set what rounds to zero, and which library multiplies matrices.

    Numbers below 1e-38 count as 0: a matrix product with weights that weight decay has shrunk that far takes 100
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
    """Return whether a product of float32 matrices rounds as float32 does, not to the 10 or 7 bits of others."""
    x = torch.linspace(-1, 1, 128**2).view(128, 128)
    return torch.allclose(product(x, x).double(), x.double() @ x.double(), rtol=0, atol=1e-3)
