"""A multirun as a union of grids: every arm of a preset is a product of its own."""

import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override, RangeSweep, Sweep
from hydra.errors import HydraException

from psilon_bench.errors import UsageError, short

# key -> one value, or a string of values as a command line has them: {"reg.lam": "1e-3,1e-2"}; {"~reg.lam": None}: out
Grid = Mapping[str, Any]
Parse = Callable[[list[str]], list[Override]]
MOST_JOBS = 100_000


def union(arms: Sequence[Grid], common: Grid, arguments: list[str], parse: Parse) -> list[list[str]]:
    """The overrides of every job, arm after arm, each job once.

    A key that is given twice counts where it is given last: in `common`, in the arm, in the command line's arguments.
    """
    given = parse(arguments)
    every = [last([*parsed(common, parse), *parsed(arm, parse), *given]) for arm in arms]
    check_number(every)
    products = (product(overrides) for overrides in every)
    return [list(job) for job in dict.fromkeys(tuple(job) for jobs in products for job in jobs)]


def last(overrides: list[Override]) -> list[Override]:
    """Of each key the override that counts."""
    return list({key_of(override): override for override in overrides}.values())


def product(overrides: list[Override]) -> list[list[str]]:
    """All combinations of the values."""
    (jobs,) = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    return jobs


def check_number(arms: Sequence[list[Override]]) -> None:
    """UsageError where the arms have more jobs together than a sweep may have; none of them is made for that."""
    jobs = sum(math.prod(map(number_of_values, overrides)) for overrides in arms)
    if jobs > MOST_JOBS:
        number = f"{jobs:,}" if jobs < 10**12 else f"{Decimal(jobs):.0e}"
        raise UsageError(f"A sweep has at most {MOST_JOBS:,} runs, but this one has {number}. Sweep over fewer values.")


def number_of_values(override: Override) -> int:
    """UsageError where the override has none, or cannot tell them."""
    if not override.is_sweep_override():
        return 1
    written = short(override.input_line or "")
    if not override.is_discrete_sweep():
        raise UsageError(f"{written} has no end of values. Name some: {override.key_or_group}=1,2,3 or =range(1,4).")
    try:
        number = count(override)
    except (HydraException, ValueError, ArithmeticError) as error:
        rule = "range(start,stop,step) takes finite numbers, and a step other than 0"
        raise UsageError(f"{written} cannot be counted: {rule}.") from error
    if number < 1:
        raise UsageError(f"{written} has no values, so no run is asked for. Give it one at least.")
    return number


def count(override: Override) -> int:
    """How many values a sweep has, a range without going through it."""
    sweep = override.value()
    if not isinstance(sweep, RangeSweep):
        return len(sweep.list) if isinstance(sweep, Sweep) else len(list(override.sweep_iterator()))
    start, stop, step = (Decimal(number) for number in (sweep.start, sweep.stop, sweep.step))
    return max(0, math.ceil((stop - start) / step))


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
    from psilon_bench.config.signature import nearest

    return nearest(wrong or "", known) if known else " It has none: take a preset with hydra.sweeper.grids."
