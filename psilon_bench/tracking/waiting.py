"""A word while somebody waits for MLflow."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator

TOLD_AFTER_S = 5.0  # where nobody can see it move


@contextlib.contextmanager
def waiting(what: str) -> Iterator[Callable[[int], None]]:
    """Says what is waited for, with the number that it hears: moving on a terminal, else in one line after a while.

    `what` has a place for the number: "psilon-sync: {} records are being sent".
    """
    from rich.console import Console

    console, numbers = Console(stderr=True), [""]

    def line() -> str:
        return " ".join(what.format(numbers[0]).split())

    if not console.is_terminal:
        timer = threading.Timer(TOLD_AFTER_S, lambda: print(line(), file=sys.stderr))
        timer.daemon = True
        timer.start()
        try:
            yield lambda left: numbers.__setitem__(0, str(left))
        finally:
            timer.cancel()
        return
    with console.status(line()) as status:

        def moved(left: int) -> None:
            numbers[0] = str(left)
            status.update(line())

        yield moved
