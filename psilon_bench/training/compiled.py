"""hardware.compile: the training step as compiled programs, where it pays: in long runs of one shape."""

import itertools
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch

from psilon_bench.machine import garbage
from psilon_bench.machine.torch_internals import trace_gradients
from psilon_bench.training.batches import Batches
from psilon_bench.training.randomness import Randomness
from psilon_bench.training.step import Given, Programs, Slopes, TrainingStep
from psilon_bench.training.threads import on_trial
from psilon_bench.training.turns import turn_s

LONG_S = 300.0  # of training from which on `auto` compiles: half a minute of it may be the compiler's
WORTH = 1.05  # uncompiled / compiled, from which on `auto` takes what it has compiled
TURNS = 5


@dataclass(frozen=True)
class Compiled:
    """The compiled parts of a TrainingStep."""

    slopes: Callable[..., Slopes]
    finish: Callable[..., None]


class CompileChoice:
    """Whether a training is compiled: `taken` is what was decided, None before, and without hardware.compile=auto."""

    def __init__(self, step: TrainingStep, batches: Batches, randomness: Randomness) -> None:
        self.step, self.batches, self.randomness = step, batches, randomness
        self.taken: bool | None = None

    def choose(self, asked: Literal["auto", True], steps: int) -> str | None:
        """Compile the step where asked to or where it pays in so many steps, in which no pruner blends weights.

        Return a sentence about it, if any. A run that goes on from a checkpoint stays as it was decided before.
        """
        if asked == "auto" and self.taken is None:
            return self.decide(steps)
        if asked == "auto" and not self.taken:
            return None
        failure = compile_step(self.step, self.batches, self.randomness)
        return failure and f"hardware.compile={str(asked).lower()} did not work, the run is not compiled: {failure}"

    def decide(self, steps: int) -> str | None:
        """Compile the step of a long training, and keep it so where it is faster."""
        with on_trial(self.step, self.batches, self.randomness):
            (batch,) = itertools.islice(self.batches.epoch(), 1)
            work = partial(objectives, self.step, self.step.given(batch))
            self.taken = is_long(work, steps)
        if not self.taken:
            return None
        started = time.perf_counter()
        if failure := compile_step(self.step, self.batches, self.randomness):
            self.taken = False
            return f"the run is long but not compiled: {failure}"
        taken = time.perf_counter() - started
        with on_trial(self.step, self.batches, self.randomness):
            before, after = race((work, partial(objectives, self.step.programs, self.step.given(batch))))
        self.taken = before > WORTH * after
        if not self.taken:
            self.step.compiled = None
        told = f"compiled in {taken:.0f} s, a step takes {1000 * after:.3g} ms instead of {1000 * before:.3g}"
        return told if self.taken else f"{told}: it stays as it was"


def objectives(programs: Programs, given: Given) -> float:
    """Compute objectives and gradients, and wait for them."""
    return programs.slopes(*given)[0].sum().item()


def is_long(work: Callable[[], object], steps: int) -> bool:
    """Return whether so many repetitions of the work take LONG_S; the first is the slowest, and may tell already."""
    started = time.perf_counter()
    work()
    return steps * (time.perf_counter() - started) > LONG_S and steps * turn_s(work) > LONG_S


def race(works: tuple[Callable[[], object], Callable[[], object]]) -> tuple[float, float]:
    """Return the median seconds that each takes, in turns."""
    turns = [[turn_s(work) for work in works] for _ in range(TURNS)]
    before, after = (statistics.median(times) for times in zip(*turns, strict=True))
    return before, after


@garbage.paused()
def compile_step(step: TrainingStep, batches: Batches, randomness: Randomness) -> str | None:
    """Compile what is before the optimizer's part of a training step and what is after it; return why that fails.

    Before it are objectives, gradients and what the regularizer is to know of the parameters, after it the prox, shrink
    or projection; torch's own fused optimizers are one pass already. The first calls are off the clock. Numbers agree
    with the uncompiled ones to rounding. Steps in which a pruner blends weights are not compiled, for each would be a
    program of its own, nor is a fine-tuning. On a GPU the first program is recorded as a CUDA graph.
    """
    torch.compiler.reset()  # forget those of earlier runs: of the same code torch keeps eight, and compiles no ninth
    trace_gradients()
    mode = "reduce-overhead" if step.stack.device.type == "cuda" else None
    pays = step.shrinks and not step.projects  # projections loop until they end
    compiled = Compiled(
        torch.compile(step.slopes, dynamic=False, mode=mode),
        torch.compile(step.finish, dynamic=False) if pays else step.finish,
    )
    reason = None
    try:
        with on_trial(step, batches, randomness):
            for batch in itertools.islice(batches.epoch(), 2):
                given = step.given(batch)
                *_, kept = compiled.slopes(*given)
                with torch.no_grad():
                    compiled.finish(given.step, kept, step.values)
        step.compiled = compiled
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    return reason
