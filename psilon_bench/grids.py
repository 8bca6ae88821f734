"""A multirun as a union of grids: every arm of a preset is a product of its own."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override

from psilon_bench.errors import UsageError

# key -> one value, or a string of values as a command line has them: {"reg.lam": "1e-3,1e-2"}; {"~reg.lam": None}: out
Grid = Mapping[str, Any]
Parse = Callable[[list[str]], list[Override]]


def union(arms: Sequence[Grid], common: Grid, arguments: list[str], parse: Parse) -> list[list[str]]:
    """The overrides of every job, arm after arm, each job once.

    A key that is given twice counts where it is given last: in `common`, in the arm, in the command line's arguments.
    """
    given = parse(arguments)
    products = (product([*parsed(common, parse), *parsed(arm, parse), *given]) for arm in arms)
    return [list(job) for job in dict.fromkeys(tuple(job) for jobs in products for job in jobs)]


def product(overrides: list[Override]) -> list[list[str]]:
    """All combinations of the values."""
    last = {key_of(override): override for override in overrides}
    (jobs,) = BasicSweeper.split_arguments(list(last.values()), max_batch_size=None)
    return jobs


def key_of(override: Override) -> tuple[str, str | None]:
    """What is set, however it is set: reg.lam, +reg.lam, ++reg.lam or ~reg.lam."""
    return override.key_or_group, override.package


def parsed(grid: Grid, parse: Parse) -> list[Override]:
    """The overrides of a grid."""
    return parse([f"{key}={'null' if values is None else values}" for key, values in grid.items()])


def chosen(grids: Mapping[str, Grid | None] | None, names: str | Sequence[str] | None) -> list[Grid]:
    """The arms of these names (of one, or of a list), all of them without names; UsageError for a name that is none."""
    known = {name: checked(name, arm) for name, arm in (grids or {}).items()}
    if names is None:
        return list(known.values()) or [{}]
    names = [names] if isinstance(names, str) else list(names)
    wrong = next((name for name in names if name not in known), None)
    if wrong is not None or not names:
        raise UsageError(f"hydra.sweeper.arms={wrong or names} is not an arm of this sweep.{remedy(wrong, known)}")
    return [known[name] for name in names]


def checked(name: str, arm: Any) -> Grid:
    """An empty arm is the command line alone."""
    if arm is not None and not isinstance(arm, Mapping):
        raise UsageError(f"hydra.sweeper.grids.{name}={arm} is not valid: it should be keys with values. See a preset.")
    return arm or {}


def remedy(wrong: str | None, known: Mapping[str, Grid]) -> str:
    """Which arms there are."""
    from psilon_bench.arguments import nearest

    return nearest(wrong or "", known) if known else " It has none: take a preset with hydra.sweeper.grids."
