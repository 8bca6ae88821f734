"""hardware.threads=auto: as many threads as make a training step fastest under the present load.

Threads wait for each other after each operation. On a busy machine one that has to wait for a core holds up all others,
and a step on two threads takes up to 15 times as long as on one.
"""

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from psilon_bench.machine.arithmetic import most_threads, set_threads
from psilon_bench.training.batches import Batches
from psilon_bench.training.randomness import Randomness
from psilon_bench.training.step import TrainingStep
from psilon_bench.training.turns import turn_s

TINY_S = 0.005  # a step that one thread computes in so much processor time is not divided
FEW_STEPS = 50  # a run of fewer is not worth the trial
WORTH = 1.1  # more threads must be so many times as fast
TURNS = 5  # of each number of threads, by turns
SLOWER = 3.0  # than in the trial: time for another one


@dataclass(frozen=True)
class Pace:
    """A number of threads, and the seconds that a step took on them in the trial; None where there was none."""

    threads: int
    step_s: float | None = None

    def lost(self, step_s: float) -> bool:
        """Return whether steps have become so slow that another number of threads may be faster."""
        return self.threads > 1 and self.step_s is not None and step_s > SLOWER * self.step_s


class ThreadChoice:
    """The number of threads of a training: `pace` is what was chosen, None before, and without hardware.threads=auto.

    A compiled step keeps the threads that it was compiled for.
    """

    def __init__(self, step: TrainingStep, batches: Batches, randomness: Randomness) -> None:
        self.step, self.batches, self.randomness = step, batches, randomness
        self.pace: Pace | None = None

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

    def keep_up(self, step_s: float) -> None:
        """Choose again where steps, which take so many seconds now, have become much slower than in the trial."""
        if self.pace is not None and self.pace.lost(step_s) and self.step.compiled is None:
            self.pace = None
            self.choose()


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
    best = Pace(1, statistics.median(turn[0] for turn in turns))
    for place, number in enumerate(numbers[1:], start=1):
        found = Pace(number, statistics.median(turn[place] for turn in turns))
        gain = statistics.median(turn[numbers.index(best.threads)] / turn[place] for turn in turns)
        best = found if gain > WORTH else best
    return settled(best)


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
