"""Marks on the arguments of a component: which arguments are files that it reads, which determine no number.

    def load(name: str, path: InputPath | None, offline: Annotated[bool, NO_NUMBER]) -> Task: ...

A run's identity is WHAT was computed. A file counts by its content (the checksum of the task), never by its path, and
an argument that changes no number does not count at all. A relative path is resolved once, when the configuration is
composed. Where one argument makes others meaningless (`protocol=psilon` sets the sizes itself), the component names a
function that says so: `settled_by`. Where arguments must fit each other, a function checks them: `checked_by`.
"""

import functools
import inspect
import typing
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

Settle = Callable[[dict[str, Any]], dict[str, Any]]
Check = Callable[[dict[str, Any]], None]
Target = TypeVar("Target", bound=Callable[..., Any])
_SETTLES: dict[Callable[..., Any], Settle] = {}  # by `settled_by`, not by an attribute: a network may have a `settle`
_CHECKS: dict[Callable[..., Any], Check] = {}
FILE_ENDINGS = (".csv", ".parquet")


class Mark:
    """A property of an argument, written in its annotation."""

    def __init__(self, word: str) -> None:
        """Name the mark."""
        self.word = word

    def __repr__(self) -> str:
        """Return the mark's name, which does not change between processes."""
        return self.word


INPUT_PATH = Mark("INPUT_PATH")
INPUT_PATH_OR_NAME = Mark("INPUT_PATH_OR_NAME")
NO_NUMBER = Mark("NO_NUMBER")
InputPath = Annotated[str, INPUT_PATH]
InputPathOrName = Annotated[str, INPUT_PATH_OR_NAME]  # a file where it ends like one (FILE_ENDINGS), else a name


@functools.cache
def marked(target: Callable[..., Any], mark: Mark) -> frozenset[str]:
    """Return the names of the target's parameters whose annotation carries this mark."""
    function = target.__init__ if inspect.isclass(target) else target
    return frozenset(name for name, hint in _annotations(function).items() if _carries(hint, mark))


def _annotations(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations; none where they name what cannot be found (torch imports some for type checkers)."""
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError):
        return {}


def _carries(hint: Any, mark: Mark) -> bool:
    """Tell whether an annotation, or a member of a union in it, carries the mark."""
    if mark in getattr(hint, "__metadata__", ()):
        return True
    return any(_carries(part, mark) for part in typing.get_args(hint))


def settled_by(settle: Settle) -> Callable[[Target], Target]:
    """Return a decorator of a component: `settle` gives its arguments without those that others make meaningless."""

    def mark_target(target: Target) -> Target:
        _SETTLES[target] = settle
        return target

    return mark_target


def checked_by(check: Check) -> Callable[[Target], Target]:
    """Return a decorator of a component: `check` raises UsageError for arguments that do not fit each other.

    It is called for the configuration of each run, before any data are read.
    """

    def mark_target(target: Target) -> Target:
        _CHECKS[target] = check
        return target

    return mark_target


def check_together(target: Callable[..., Any], arguments: dict[str, Any]) -> None:
    """Raise UsageError where the arguments of a component do not fit each other; see `checked_by`."""
    if (check := _CHECKS.get(target)) is not None:
        check(dict(arguments))


def names_file(value: str) -> bool:
    """Tell whether an InputPathOrName is a file."""
    return value.lower().endswith(FILE_ENDINGS)


def file_arguments(target: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, str]:
    """Return the arguments that name files which the component reads."""
    paths, either = marked(target, INPUT_PATH), marked(target, INPUT_PATH_OR_NAME)
    return {
        name: value
        for name, value in arguments.items()
        if value is not None and (name in paths or (name in either and names_file(value)))
    }


def settled(target: Callable[..., Any], arguments: dict[str, Any], content: Callable[[str], str]) -> dict[str, Any]:
    """Return the arguments that determine numbers; `content` of a file takes the place of its path."""
    settle = _SETTLES.get(target)
    kept = settle(dict(arguments)) if settle is not None else dict(arguments)
    files = file_arguments(target, kept)
    return {
        name: content(files[name]) if name in files else value
        for name, value in kept.items()
        if name not in marked(target, NO_NUMBER)
    }
