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


def raise_at_once(number: int, _frame: Any) -> None:
    """Handle a signal outside of training: raise Stopped."""
    raise Stopped(number)


def install() -> None:
    """Let each of SIGNALS raise Stopped from now on."""
    for number in SIGNALS:
        signal.signal(number, raise_at_once)


@contextmanager
def kept_until_safe() -> Iterator[Callable[[], None]]:
    """Keep a signal until the next call of the yielded function, or the end of the block; a second raises at once."""
    received: list[int] = []

    def keep(number: int, _frame: Any) -> None:
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
    """Raise at a signal at once, as a safe one; within kept_until_safe, for work of which no part can be kept."""

    def stop(number: int, _frame: Any) -> None:
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


def handle_interrupt(handler: Callable[[int, Any], None]) -> None:
    """Let this handler have SIGINT from now on, also where the process was started with the signal blocked."""
    signal.signal(signal.SIGINT, handler)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@contextmanager
def interrupt_blocked() -> Iterator[None]:
    """Let SIGINT wait until the end of the block; processes that are started within begin with it blocked."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
