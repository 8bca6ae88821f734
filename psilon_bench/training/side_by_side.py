"""Works that train at the same time, each on a thread of its own, so that none sees a difference.

torch computes without the interpreter's lock: two stacks of small networks on a core each take half the time, where a
step of one of them is hardly faster on two cores.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager

import torch

from psilon_bench.config.sections import HardwareSection
from psilon_bench.machine.arithmetic import most_threads, set_threads, torch_threads
from psilon_bench.machine.device import device_settings


def most_at_once(hardware: HardwareSection) -> int:
    """Return how many works may train at the same time: on a CPU two for each of several threads, else one.

    Two, so that one computes while the other waits for the interpreter, and all end at about the same time.
    """
    threads = hardware.threads if isinstance(hardware.threads, int) else most_threads()
    return 2 * threads if threads > 1 and device_settings(hardware).device.type == "cpu" else 1


class Halted(BaseException):
    """Raised at the safe points of works after another has failed."""


class SideBySide:
    """Calls works, so many at a time, each of which is to call `safe_point` often."""

    def __init__(self, asked_to_end: Callable[[], None]) -> None:
        """asked_to_end: is called at all safe points, and raises where all works are to end."""
        self.asked_to_end = asked_to_end
        self.telling = threading.Lock()  # for what only one work may do at a time, while the others go on
        self.gate = threading.Condition()
        self.busy = 0  # works between two safe points
        self.resting = False  # whether one wants the others to stay at their safe points
        self.error: BaseException | None = None
        self.failed: int | None = None  # the work that raised it

    def run(self, works: Sequence[Callable[[], None]], most: int) -> None:
        """Call all works, at most so many at once, each on one thread of torch; raise what the first raises that fails.

        The others end at their next safe points, so that what they hold is whole. Works are to draw no random number
        from torch's global generator.
        """
        # OpenMP has a number of threads for each Python thread, which is that of all cores at first
        pool = ThreadPoolExecutor(most, initializer=set_threads, initargs=(1,))
        with torch_threads(1), torch.random.fork_rng([]), pool:
            try:
                wait([pool.submit(self.attempt, number, work) for number, work in enumerate(works)])
            except BaseException as error:  # of a signal
                self.halt(error, None)
        if self.error is not None:
            raise self.error

    def attempt(self, number: int, work: Callable[[], None]) -> None:
        """Call a work, unless another has failed, and keep what it raises."""
        with self.gate:
            self.gate.wait_for(lambda: not self.resting)
            self.busy += 1
        try:
            self.safe_point()
            work()
        except Halted:
            pass
        except BaseException as error:
            self.halt(error, number)
        finally:
            with self.gate:
                self.busy -= 1
                self.gate.notify_all()

    def halt(self, error: BaseException, number: int | None) -> None:
        """Let all works end at their next safe points, for this error if it is the first."""
        with self.gate:
            if self.error is None:
                self.error, self.failed = error, number

    def safe_point(self) -> None:
        """Wait as long as another work wants rest; Halted where one has failed."""
        with self.gate:
            if self.resting:
                self.busy -= 1
                self.gate.notify_all()
                self.gate.wait_for(lambda: not self.resting)
                self.busy += 1
            if self.error is not None:
                raise Halted
        self.asked_to_end()

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Let all other works be at safe points within; to be entered at one, by a work. Halted where one has failed.

        A work that has failed may have stopped within a step, and nothing of it is to be saved.
        """
        with self.gate:
            self.busy -= 1
            self.gate.notify_all()
            self.gate.wait_for(lambda: not self.resting)
            self.resting = True
            self.gate.wait_for(lambda: not self.busy)
        try:
            if self.error is not None:
                raise Halted
            yield
        finally:
            with self.gate:
                self.resting = False
                self.busy += 1
                self.gate.notify_all()
