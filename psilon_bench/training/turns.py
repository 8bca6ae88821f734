"""The time of a piece of work that is too short for one reading of a clock."""

import time
from collections.abc import Callable

TURN_S = 0.02  # a turn lasts at least so long


def turn_s(work: Callable[[], object]) -> float:
    """Return the seconds that the work takes, the mean of as many repetitions as fill a turn."""
    started, done = time.perf_counter(), 0
    while (taken := time.perf_counter() - started) < TURN_S or not done:
        work()
        done += 1
    return taken / done
