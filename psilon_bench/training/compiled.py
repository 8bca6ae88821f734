"""hardware.compile: objectives and gradients as one compiled program, where it pays: in long runs of one shape."""

import itertools

import torch

from psilon_bench.machine import garbage
from psilon_bench.machine.torch_internals import trace_gradients
from psilon_bench.training.batches import Batches
from psilon_bench.training.randomness import Randomness
from psilon_bench.training.step import TrainingStep
from psilon_bench.training.threads import on_trial


@garbage.paused()
def compile_step(step: TrainingStep, batches: Batches, randomness: Randomness) -> str | None:
    """Compile objectives and gradients of a training step; where that fails, return why.

    The first calls are off the clock. Numbers agree with the uncompiled ones to rounding. Steps in which a pruner
    blends weights are not compiled, for each would be a program of its own, nor is a fine-tuning. On a GPU the program
    is recorded as a CUDA graph.
    """
    torch.compiler.reset()  # forget those of earlier runs: of the same code torch keeps eight, and compiles no ninth
    trace_gradients()
    mode = "reduce-overhead" if step.stack.device.type == "cuda" else None
    compiled = torch.compile(step.slopes, dynamic=False, mode=mode)
    reason = None
    try:
        with on_trial(step, batches, randomness):
            for batch in itertools.islice(batches.epoch(), 2):
                compiled(*batch, step.lams, step.values)
        step.compiled = compiled
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    return reason
