"""A line that tells somebody who waits for MLflow how far it is."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator

SHOWN_AFTER_S = 5.0  # where nobody can see it move


@contextlib.contextmanager
def progress_line(template: str) -> Iterator[Callable[[int], None]]:
    """Show what is waited for within the block: a line that moves on a terminal, elsewhere one line after a while.

    `template` has a place for a number, "psilon-sync: {} records are being sent"; the yielded function sets the number.
    """
    from rich.console import Console

    console, numbers = Console(stderr=True), [""]

    def line() -> str:
        return " ".join(template.format(numbers[0]).split())

    if not console.is_terminal:
        timer = threading.Timer(SHOWN_AFTER_S, lambda: print(line(), file=sys.stderr))
        timer.daemon = True
        timer.start()
        try:
            yield lambda number: numbers.__setitem__(0, str(number))
        finally:
            timer.cancel()
        return
    with console.status(line()) as status:

        def show(number: int) -> None:
            numbers[0] = str(number)
            status.update(line())

        yield show
