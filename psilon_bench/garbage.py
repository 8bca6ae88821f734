"""Python's garbage collector, out of the way where it costs and finds nothing: during imports and at the exit.

Importing torch, scikit-learn or MLflow makes half a million objects, which the collector would look through again and
again (a quarter of the imports' time), and once more when the process ends (a second).
"""

import atexit
import gc


def hold() -> None:
    """Collect nothing until `release`, and nothing at the exit. At the start of a process."""
    gc.disable()
    atexit.register(gc.freeze)


def release() -> None:
    """Where it was held: collect from now on, but never look again at what there is."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
