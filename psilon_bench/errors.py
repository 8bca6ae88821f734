"""The exceptions that are shown in one line, and how that line shows a value."""

from collections.abc import Sequence
from typing import Any

LONGEST = 80  # letters of a value in a message


class UsageError(ValueError):
    """A mistake in what was asked: one line that names the rule, the value got and the remedy; exit code 2."""


class RunFailed(Exception):
    """A run that was asked for rightly and did not end well; the record says why. Exit code 1."""


class StackFailed(Exception):
    """An exception ended the training of a stack; `records` are those of its members, recorded as failed.

    at_work: the places of the members that trained at that moment; in a race these are those of a heat.
    """

    def __init__(self, error: Exception, records: Sequence[Any], at_work: Sequence[int]) -> None:
        super().__init__(with_kind(error)[:300])
        self.records, self.at_work = records, at_work


class RecordsFailed(StackFailed):
    """The records of a stack cannot be written: the disk is full, read-only or gone. Nothing else will fare better."""

    def __init__(self, message: str, records: Sequence[Any] = ()) -> None:
        Exception.__init__(self, message)
        self.records = records


class Raised(BaseException):
    """Carries an exception of ours past Hydra: whatever else Hydra raises is about what it was asked."""


def short(text: str) -> str:
    """Return the text, without its middle where it is longer than a message should show."""
    if len(text) <= LONGEST:
        return text
    count = f" ... ({len(text)} letters) ... "
    half = (LONGEST - len(count)) // 2
    return text[:half] + count + text[-half:]


def in_one_line(text: object, longest: int | None = None) -> str:
    """Return the text of an exception, say, as one line, of at most so many letters."""
    return " ".join(str(text).split())[:longest]


def with_kind(error: BaseException) -> str:
    """Return an exception as one line that begins with the name of its class."""
    return in_one_line(f"{type(error).__name__}: {error}")


def in_brief(error: BaseException) -> str:
    """Return an exception of somebody else's code in a few words, with the name of its class."""
    return f"{type(error).__name__}: {short(in_one_line(error))}"


def shown(value: Any) -> str:
    """Return a value as messages show it."""
    return short(repr(value))


def shortened(line: str, arguments: Sequence[str]) -> str:
    """Return a message as one line, with the long values of the command line in it cut short."""
    for argument in arguments[1:]:
        for part in argument.partition("=")[::2]:
            line = line.replace(part, short(part)) if part else line
    return " ".join(line.splitlines())
