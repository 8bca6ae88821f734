"""A command that is killed again and again."""

import contextlib
import random
import signal
import subprocess
from collections.abc import Callable
from typing import Any

KILLS = 20


def killed_often(
    start: Any,
    command: tuple[str, ...],
    tiny: tuple[str, ...],
    seconds: tuple[float, float],
    draw: random.Random,
    after: Callable[[int, str], object],
) -> list[str]:
    """SIGKILL after so many seconds, twenty times; the names of the rounds, the last of which has not ended.

    Where a command ends before its time, another round begins under another name. after(kills, name) is called each
    time a process is gone.
    """
    kills, names = 0, ["round0"]
    while kills < KILLS:
        process, name = start(*command, f"name={names[-1]}", tiny=tiny), names[-1]
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(draw.uniform(*seconds))
        if process.poll() is None:
            kills += 1
        else:
            names.append(f"round{len(names)}")
        process.send_signal(signal.SIGKILL)
        process.communicate()
        after(kills, name)
    return names
