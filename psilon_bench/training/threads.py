"""hardware.threads=auto: as many threads as make a training step fastest under the present load.

Threads wait for each other after each operation. On a busy machine one that has to wait for a core holds up all others,
and a step on two threads takes up to 15 times as long as on one.
"""

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import torch

from psilon_bench.machine.arithmetic import most_threads, set_threads
from psilon_bench.training.batches import Batches
from psilon_bench.training.randomness import Randomness
from psilon_bench.training.step import TrainingStep
from psilon_bench.training.turns import turn_s

TINY_S = 0.005  # a step that one thread computes in so much processor time is not divided
FEW_STEPS = 50  # a run of fewer is not worth the trial
WORTH = 1.1  # more threads must be so many times as fast
TURNS = 5  # of each number of threads, by turns
SLOWER = 3.0  # than the fastest steps since the trial: time for another one


@dataclass(frozen=True)
class Pace:
    """A number of threads, and the seconds of the fastest steps since it was chosen; None before the first.

    They are whole steps: those of a trial are without optimizer, prox and projection, which may be most of a step.
    """

    threads: int
    step_s: float | None = None

    def lost(self, step_s: float) -> bool:
        """Return whether steps have become so slow that another number of threads may be faster."""
        return self.threads > 1 and self.step_s is not None and step_s > SLOWER * self.step_s

    def seen(self, step_s: float) -> "Pace":
        """Return the pace after steps that took so many seconds each."""
        return replace(self, step_s=step_s if self.step_s is None else min(step_s, self.step_s))


class ThreadChoice:
    """The number of threads of a training: `pace` is what was chosen, None before, and without hardware.threads=auto.

    A compiled step keeps the threads that it was compiled for.
    """

    def __init__(self, step: TrainingStep, batches: Batches, randomness: Randomness) -> None:
        self.step, self.batches, self.randomness = step, batches, randomness
        self.pace: Pace | None = None
        self.counted: tuple[float, int] | None = (0.0, 0)  # seconds and steps at the last evaluation; None: not known

    def choose(self) -> None:
        """Let the process have the threads that were chosen before, or else those that a trial finds fastest."""
        trial = (self.step, self.batches, self.randomness, most_threads())
        self.pace = fastest_pace(*trial) if self.pace is None else settled(self.pace)

    def state(self) -> tuple[int, float | None] | None:
        """Return the pace as plain numbers."""
        return None if self.pace is None else (self.pace.threads, self.pace.step_s)

    def load_state(self, state: tuple[int, float | None] | None) -> None:
        """Go on from what `state` returned."""
        self.pace = None if state is None else Pace(*state)
        self.counted = None

    def keep_up(self, seconds: float, steps: int) -> None:
        """Choose again where steps have become much slower than they were; these are all of the training so far."""
        last, self.counted = self.counted, (seconds, steps)
        if last is None or self.pace is None or self.step.compiled is not None:
            return
        if self.pace.threads != torch.get_num_threads():  # steps side by side tell nothing of the pace alone
            return
        step_s = (seconds - last[0]) / (steps - last[1])
        if self.pace.lost(step_s):
            self.pace = None
            self.choose()
        else:
            self.pace = self.pace.seen(step_s)


@contextmanager
def on_trial(step: TrainingStep, batches: Batches, randomness: Randomness) -> Iterator[None]:
    """Leave networks, batches and random numbers as they were, whatever a step's `slopes` did within."""
    stack = step.stack
    before, position, random = stack.snapshot(stack.everything), batches.state(), randomness.state()
    try:
        with stack.training(), randomness.own():
            yield
    finally:
        batches.load_state(position)
        randomness.load_state(random)
        stack.copy_members(before, stack.everything, range(stack.size))  # the statistics of norm layers


def fastest_pace(step: TrainingStep, batches: Batches, randomness: Randomness, most: int) -> Pace:
    """Return the number of threads with the fastest step, which the process has from now on.

    One thread takes what is tiny; of 1, 2, 4, ... up to `most`, more are taken only where their steps are WORTH times
    as fast.
    """
    numbers = [*itertools.takewhile(lambda number: number < most, (2**k for k in itertools.count())), most]
    if step.steps < FEW_STEPS or most == 1:
        return settled(Pace(most))
    with on_trial(step, batches, randomness):
        (batch,) = itertools.islice(batches.epoch(), 1)
        work = partial(step.slopes, *step.given(batch))
        set_threads(1)
        turn_s(work)  # warms up
        if min(processor_s(work) for _ in range(3)) < TINY_S:
            return settled(Pace(1))
        turns = [[turn_on(work, number) for number in numbers] for _ in range(TURNS)]
    best = 0
    for place in range(1, len(numbers)):
        gain = statistics.median(turn[best] / turn[place] for turn in turns)
        best = place if gain > WORTH else best
    return settled(Pace(numbers[best]))


def settled(pace: Pace) -> Pace:
    """Let the process have the threads of a pace, and return it."""
    set_threads(pace.threads)
    return pace


def processor_s(work: Callable[[], object]) -> float:
    """Return the processor time that this thread takes for the work, in seconds."""
    started = time.thread_time()
    work()
    return time.thread_time() - started


def turn_on(work: Callable[[], object], threads: int) -> float:
    """Return the seconds that the work takes on so many threads."""
    set_threads(threads)
    return turn_s(work)
