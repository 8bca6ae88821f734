"""Signals that ask a run to end: kept until a safe point, so that what is saved is whole."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR2") if hasattr(signal, name))


class Stopped(KeyboardInterrupt):
    """Raised by a signal (SIGINT, SIGTERM, or Slurm's SIGUSR2), at a safe point or, for a second signal, at once."""

    def __init__(self, number: int, safe: bool = False) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number
        self.safe = safe


def raise_at_once(number: int, frame: Any) -> None:
    """Handler outside of training."""
    raise Stopped(number)


def install() -> None:
    """From now on every such signal raises Stopped."""
    for number in SIGNALS:
        signal.signal(number, raise_at_once)


@contextmanager
def kept_until_safe() -> Iterator[Callable[[], None]]:
    """Within, a signal waits for the next call of what is given here, or for the end; a second one raises at once."""
    received: list[int] = []

    def keep(number: int, frame: Any) -> None:
        if received:
            raise Stopped(number)
        received.append(number)

    def safe_point() -> None:
        if received:
            raise Stopped(received[0], safe=True)

    if threading.current_thread() is not threading.main_thread():  # Python delivers signals to the main thread alone
        yield safe_point
        return
    before = {number: signal.signal(number, keep) for number in SIGNALS}
    try:
        yield safe_point
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    safe_point()


@contextmanager
def at_once() -> Iterator[None]:
    """Within kept_until_safe, for work of which no part can be kept: a signal raises where it comes, and it is safe."""

    def stop(number: int, frame: Any) -> None:
        raise Stopped(number, safe=True)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
