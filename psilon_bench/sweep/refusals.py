"""What is wrong with a job of a sweep, told in one line with the overrides of the job behind it."""

from collections.abc import Callable
from typing import TypeVar

from psilon_bench.config.messages import one_line
from psilon_bench.errors import UsageError, short

T = TypeVar("T")


def in_job(job: list[str], step: Callable[[], T]) -> T:
    """Return step(); what it raises is told with the overrides of the job behind it."""
    try:
        return step()
    except Exception as error:
        line = reason(error, job)
        if line is None:
            raise
        raise UsageError(f"{line} In the run: {' '.join(map(short, job))}. No run was started.") from error


def reason(error: Exception, job: list[str]) -> str | None:
    """Return what is wrong with a job as a sentence; None where the error is about something else."""
    line = str(error) if isinstance(error, UsageError) else one_line(error, job)
    return line if line is None or line.endswith((".", "?")) else f"{line}."
