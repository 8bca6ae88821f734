"""hardware.compile: objectives and gradients as one compiled program, where it pays: in long runs of one shape."""

import itertools
from typing import TYPE_CHECKING

import torch

from psilon_bench.config.schema import HardwareSection
from psilon_bench.machine import garbage

if TYPE_CHECKING:
    from psilon_bench.training.trainer import Fit


def compile_if_asked(fit: "Fit", hardware: HardwareSection) -> str | None:
    """hardware.compile, but not of a stack on a CPU: its compiled steps take up to 2.6 times as long."""
    pays = fit.stack.size == 1 or fit.device.type != "cpu"
    return compile_step(fit) if hardware.compile and pays else None


@garbage.paused()
def compile_step(fit: "Fit") -> str | None:
    """Compile objectives and gradients of a training step; where that fails, say why.

    The first calls are off the clock. Numbers agree with the uncompiled ones to rounding. Steps in which a pruner
    blends weights are not compiled, for each would be a program of its own, nor is a fine-tuning. On a GPU the program
    is recorded as a CUDA graph.
    """
    torch.compiler.reset()  # forget those of earlier runs: of the same code torch keeps eight, and compiles no ninth
    torch._dynamo.config.trace_autograd_ops = True  # else forward and backward are two programs, a sixth slower
    before, batches, random = fit.stack.snapshot(fit.stack.everything), fit.batches.state(), fit.randomness.state()
    mode = "reduce-overhead" if fit.device.type == "cuda" else None
    compiled = torch.compile(fit.slopes, dynamic=False, mode=mode)
    reason = None
    try:
        for x, y in itertools.islice(fit.batches.epoch(), 2):
            with fit.stack.training(), fit.randomness.own():
                compiled(x, y, fit.lams, fit.own)
        fit.compiled = compiled
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    fit.batches.load_state(batches)
    fit.randomness.load_state(random)
    fit.stack.copy_members(before, fit.stack.everything, range(fit.stack.size))  # the statistics of norm layers
    return reason
