"""Pauses Python's garbage collector where it costs time and finds nothing: during imports and at the exit.

Importing torch, scikit-learn or MLflow makes half a million objects, which the collector would look through again and
again (a quarter of the imports' time), and once more when the process ends (a second).
"""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


def pause() -> None:
    """Collect nothing until `resume`, and nothing at the exit. To be called at the start of a process."""
    gc.disable()
    atexit.register(gc.freeze)


@contextmanager
def paused() -> Iterator[None]:
    """Collect nothing within the block."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def resume() -> None:
    """After `pause`: collect from now on, but never look again at the objects that are there."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
