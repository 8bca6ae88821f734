"""float32 means float32: what makes products fast must not round their factors."""

import platform
import subprocess
import sys
import textwrap
from typing import Any

import pytest
import torch

from psilon_bench.machine import arithmetic

SHAPES = [(1, 1, 1), (400, 28, 500), (400, 500, 500), (341, 16, 16), (7, 1000, 3)]


def test_a_product_that_rounds_its_factors_is_found_out() -> None:
    """To the 7 bits of bfloat16, and to the 10 of tf32."""

    def tf32(x: torch.Tensor) -> torch.Tensor:
        return ((x.view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)

    assert arithmetic.exact(torch.mm)
    assert not arithmetic.exact(lambda a, b: a.bfloat16().float() @ b.bfloat16().float())
    assert not arithmetic.exact(lambda a, b: tf32(a) @ tf32(b))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("members", [1, 3])
def test_products_round_as_float32_does(shape: Any, transposed: Any, members: Any) -> None:
    """|fl(A B) - A B| <= k u |A| |B| elementwise, u = 2^-24 and k the number of terms (Higham 2002, section 3.5)."""
    arithmetic.set_up_arithmetic()
    rows, k, columns = shape
    a, b = torch.randn(members, rows, k), torch.randn(members, k, columns)
    if transposed:
        b = b.mT.contiguous().mT
    ours = a @ b if members > 1 else (a[0] @ b[0])[None]
    error = (ours.double() - a.double() @ b.double()).abs()
    assert (error <= (k + 1) * 2**-24 * (a.abs().double() @ b.abs().double())).all()


def test_where_a_product_is_rounded_torch_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with AMX."""
    monkeypatch.setattr(arithmetic, "exact", lambda product: False)
    arithmetic.set_up_arithmetic()
    assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that gives memory back at once")
def test_freed_memory_stays_with_the_process() -> None:
    """Tensors of a megabyte, freed and made again: hardly a page of 4 KB is asked of the system anew.

    Without the setting glibc gives most of them back each time, but not where something else lies above them.
    """
    count = """
        import resource, torch
        from psilon_bench.machine import arithmetic
        arithmetic.keep_freed_memory()
        x = torch.ones(500, 500)
        for turn in range(20):
            if turn == 10:
                before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            tensors = [x + number for number in range(20)]
            del tensors
        print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    """
    faults = int(subprocess.check_output([sys.executable, "-c", textwrap.dedent(count)]))
    pages = 10 * 20 * 500 * 500 * 4 // 4096
    assert faults < pages / 20
