"""Python's garbage collector, out of the way where it costs and finds nothing: during imports and at the exit.

Importing torch, scikit-learn or MLflow makes half a million objects, which the collector would look through again and
again (a quarter of the imports' time), and once more when the process ends (a second).
"""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


def hold() -> None:
    """Collect nothing until `release`, and nothing at the exit. At the start of a process."""
    gc.disable()
    atexit.register(gc.freeze)


@contextmanager
def held() -> Iterator[None]:
    """Collect nothing within."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def release() -> None:
    """Where it was held: collect from now on, but never look again at what there is."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
