"""A multirun as a union of grids: each arm of a preset is a product of values."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from hydra.core.override_parser.types import Override, RangeSweep, Sweep
from hydra.errors import HydraException

from psilon_bench.errors import UsageError, short

# key -> one value, or a string of values as a command line has them: {"reg.lam": "1e-3,1e-2"}; {"~reg.lam": None}: out
Grid = Mapping[str, Any]
Parse = Callable[[list[str]], list[Override]]
MOST_JOBS = 100_000


def union(arms: Sequence[Grid], common: Grid, arguments: list[str], parse: Parse) -> list[list[str]]:
    """Return the overrides of every job, arm after arm, each job once.

    A key that is given twice counts where it is given last: in `common`, in the arm, in the command line's arguments.
    """
    given = parse(arguments)
    merged = [last([*parse_grid(common, parse), *parse_grid(arm, parse), *given]) for arm in arms]
    check_number(merged)
    products = (product(overrides) for overrides in merged)
    return [list(job) for job in dict.fromkeys(tuple(job) for jobs in products for job in jobs)]


def last(overrides: list[Override]) -> list[Override]:
    """Return for each key the override that counts: the last."""
    return list({override_key(override): override for override in overrides}.values())


def product(overrides: list[Override]) -> list[list[str]]:
    """Return all combinations of the values, each as the overrides of a job."""
    return [list(job) for job in itertools.product(*map(single_overrides, overrides))]


def single_overrides(override: Override) -> list[str]:
    """Return the override once for each of its values: reg.lam=1e-3 and reg.lam=1e-2 for reg.lam=1e-3,1e-2."""
    key = override.get_key_element()
    if override.is_sweep_override():
        return [f"{key}={value}" for value in override.sweep_string_iterator()]
    return [f"{key}={override.get_value_element_as_str()}"]


def check_number(arms: Sequence[list[Override]]) -> None:
    """Raise UsageError where the arms have more jobs together than a sweep may have; the jobs are counted, not made."""
    check_size(sum(math.prod(map(number_of_values, overrides)) for overrides in arms))


def check_size(jobs: int) -> None:
    """Raise UsageError for more runs than a sweep may have."""
    if jobs > MOST_JOBS:
        number = f"{jobs:,}" if jobs < 10**12 else f"{Decimal(jobs):.0e}"
        raise UsageError(f"A sweep has at most {MOST_JOBS:,} runs, but this one has {number}. Sweep over fewer values.")


def number_of_values(override: Override) -> int:
    """Return how many values an override has; UsageError where it has none, or their number cannot be told."""
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
    """Return how many values a sweep has; those of a range are not gone through."""
    sweep = override.value()
    if not isinstance(sweep, RangeSweep):
        return len(sweep.list) if isinstance(sweep, Sweep) else len(list(override.sweep_iterator()))
    start, stop, step = (Decimal(number) for number in (sweep.start, sweep.stop, sweep.step))
    return max(0, math.ceil((stop - start) / step))


def override_key(override: Override) -> tuple[str, str | None]:
    """Return what is set, however it is set: reg.lam, +reg.lam, ++reg.lam or ~reg.lam."""
    return override.key_or_group, override.package


def parse_grid(grid: Grid, parse: Parse) -> list[Override]:
    """Return the overrides of a grid."""
    return parse([f"{key}={'null' if values is None else values}" for key, values in grid.items()])


def selected_arms(grids: Mapping[str, Grid | None] | None, names: str | Sequence[str] | None) -> list[Grid]:
    """Return the arms of these names (one, or a list), all arms without names; UsageError for an unknown name."""
    known = {name: checked_arm(name, arm) for name, arm in (grids or {}).items()}
    if names is None:
        return list(known.values()) or [{}]
    names = [names] if isinstance(names, str) else list(names)
    wrong = next((name for name in names if name not in known), None)
    if wrong is not None or not names:
        raise UsageError(f"hydra.sweeper.arms={wrong or names} is not an arm of this sweep.{known_arms(wrong, known)}")
    return [known[name] for name in names]


def checked_arm(name: str, arm: Any) -> Grid:
    """Return an arm; an empty arm is the command line alone. UsageError where it is no mapping."""
    if arm is not None and not isinstance(arm, Mapping):
        raise UsageError(f"hydra.sweeper.grids.{name}={arm} is not valid: it should be keys with values. See a preset.")
    return arm or {}


def known_arms(wrong: str | None, known: Mapping[str, Grid]) -> str:
    """Return the end of a message that says which arms there are."""
    from psilon_bench.config.signature import nearest

    return nearest(wrong or "", known) if known else " It has none: take a preset with hydra.sweeper.grids."
