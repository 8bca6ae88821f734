"""hardware.compile: the objective of a stack as one compiled program, where it pays: in long runs of one shape."""

import itertools
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from psilon_bench.training.trainer import Fit


def compile_objectives(fit: "Fit") -> str | None:
    """Compile what a training step differentiates, its first calls outside of the clock; where that fails, say why.

    Numbers agree with the uncompiled ones to rounding. Steps in which a pruner blends weights are not compiled, for
    each would be a program of its own, nor is a fine-tuning. On a GPU the program is recorded as a CUDA graph.
    """
    torch.compiler.reset()  # forget those of earlier runs: of the same code torch keeps eight, and compiles no ninth
    before, batches = fit.stack.snapshot(), fit.batches.state()
    mode = "reduce-overhead" if fit.device.type == "cuda" else None
    compiled = torch.compile(fit.objectives, dynamic=False, mode=mode)
    reason = None
    try:
        for x, y in itertools.islice(fit.batches.epoch(), 2):
            with fit.stack.training():
                compiled(x, y, fit.lams, fit.own)[0].sum().backward()
        fit.compiled = compiled
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    fit.clear_gradients()
    fit.batches.load_state(batches)
    fit.stack.copy_members(before, fit.stack.tensors, range(fit.stack.size))  # the statistics of norm layers
    return reason
