"""The space of a search, written in Hydra's grammar of overrides, and what a trial of it is as overrides.

    key=interval(a,b)               a float; tag(log,interval(a,b)) on a logarithmic scale
    key=int(interval(a,b))          an integer, both ends included
    key=a,b,c  or  choice(a,b,c)    one of these values, without an order
    key=range(start,stop,step)      one of these numbers, in their order

All other overrides are the same in every trial, but for the averaged ones, whose values all run in each trial.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from graphlib import CycleError, TopologicalSorter
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import BaseTrial

from psilon_bench.config.repeated import REPLICATES
from psilon_bench.errors import UsageError, short
from psilon_bench.sweep.grids import Parse, last, number_of_values, parse_grid, single_overrides
from psilon_bench.sweep.search_section import SearchSection


@dataclass(frozen=True)
class Condition:
    """The overrides of another key under which a parameter is searched."""

    key: str
    overrides: frozenset[str]


@dataclass(frozen=True)
class Parameter:
    """A key that is searched; `text` are its values as they were given."""

    key: str  # as an override has it: reg.lam, +reg.lam
    text: str
    distribution: BaseDistribution
    condition: Condition | None = None

    def override(self, value: Any) -> str:
        """Return the override that sets a value; numbers of a range as the range has them, without rounding errors."""
        step = getattr(self.distribution, "step", None)
        if isinstance(self.distribution, FloatDistribution) and step is not None:
            low, width = Decimal(str(self.distribution.low)), Decimal(str(step))
            value = float(low + round((Decimal(value) - low) / width) * width)
        return f"{self.key}={value}"

    def extremes(self) -> list[Any]:
        """Return all values of a choice, both ends of a range or an interval."""
        if isinstance(self.distribution, CategoricalDistribution):
            return list(self.distribution.choices)
        assert isinstance(self.distribution, FloatDistribution | IntDistribution)
        return [self.distribution.low, self.distribution.high]

    def suggest(self, trial: BaseTrial) -> Any:
        """Return the value that a trial has for it."""
        of = self.distribution
        if isinstance(of, CategoricalDistribution):
            return trial.suggest_categorical(self.key, of.choices)
        if isinstance(of, IntDistribution):
            return trial.suggest_int(self.key, of.low, of.high, step=of.step, log=of.log)
        assert isinstance(of, FloatDistribution)
        return trial.suggest_float(self.key, of.low, of.high, step=of.step, log=of.log)


@dataclass(frozen=True)
class SearchSpace:
    """What a trial consists of: the same `fixed` overrides, a value for each parameter, and every one of `repeats`.

    Parameters stand behind those that they depend on. `repeats` are the combinations of the averaged keys' values.
    """

    fixed: list[str]
    parameters: list[Parameter]
    repeats: list[list[str]]

    def overrides(self, pick: Callable[[Parameter], Any]) -> list[str]:
        """Return the overrides of a trial in which each parameter whose condition holds has the value pick gives."""
        chosen = list(self.fixed)
        for parameter in self.parameters:
            if parameter.condition is None or parameter.condition.overrides & set(chosen):
                chosen.append(parameter.override(pick(parameter)))
        return chosen

    def suggest(self, trial: BaseTrial) -> list[str]:
        """Return the overrides of a trial of Optuna's."""
        return self.overrides(lambda parameter: parameter.suggest(trial))

    def jobs(self, overrides: list[str]) -> list[list[str]]:
        """Return the overrides of each run of a trial."""
        return [[*overrides, *repeat] for repeat in self.repeats]

    def corners(self) -> list[list[str]]:
        """Return jobs in which each parameter is once at each of its extremes, and the others at their first.

        The conditions of that parameter hold. All repeats of the first of them are there.
        """
        corners = [
            self.overrides(lambda other: self.corner_value(other, parameter, value))  # noqa: B023  (called at once)
            for parameter in self.parameters
            for value in parameter.extremes()
        ]
        jobs = [*self.jobs(corners[0]), *([*corner, *self.repeats[0]] for corner in corners)]
        return [list(job) for job in dict.fromkeys(map(tuple, jobs))]

    def corner_value(self, other: Parameter, parameter: Parameter, value: Any) -> Any:
        """Return the value of `other` where `parameter` has this value and its conditions hold."""
        if other == parameter:
            return value
        conditions, needed = {one.key: one.condition for one in self.parameters}, parameter.condition
        while needed is not None and needed.key != other.key:
            needed = conditions.get(needed.key)
        fitting = (one for one in other.extremes() if needed and other.override(one) in needed.overrides)
        return next(fitting, other.extremes()[0])


def search_space(section: SearchSection, arguments: list[str], parse: Parse) -> SearchSpace:
    """Return the space that hydra.sweeper.params and the command line describe; the latter counts.

    UsageError for values that cannot be searched, for conditions that cannot hold, and where no key is left to search.
    """
    overrides = last([*parse_grid(section.params or {}, parse), *parse(arguments)])
    averaged = [averaged_override(key, overrides) for key in section.average]
    given = [override for override in overrides if override not in averaged]
    searched = [override for override in given if override.is_sweep_override()]
    fixed = [text for override in given if override not in searched for text in single_overrides(override)]
    if not searched:
        raise UsageError(
            "The search has no key to search. Give one some values: 'reg.lam=tag(log,interval(1e-5,1e-1))', or "
            "model=pnet,snet."
        )
    for override in searched:
        check_repeated(override)
    values = {override.get_key_element(): override for override in searched}
    conditions = {key: condition(key, text, values, fixed, parse) for key, text in (section.conditions or {}).items()}
    parameters = [
        Parameter(key, override_text(values[key]), distribution(values[key]), conditions.get(key))
        for key in parents_first(list(values), conditions)
    ]
    repeats = [list(repeat) for repeat in itertools.product(*map(single_overrides, averaged))]
    return SearchSpace(fixed, parameters, repeats)


def override_text(override: Override) -> str:
    """Return the values of an override as they were given."""
    return (override.input_line or "").partition("=")[2]


def averaged_override(key: str, overrides: Sequence[Override]) -> Override:
    """Return the override of an averaged key; UsageError where it has no values that can be gone through."""
    override = next((one for one in overrides if one.get_key_element() == key), None)
    if override is None or not override.is_discrete_sweep():
        raise UsageError(f"hydra.sweeper.average: {short(key)} has no values to average over. Set {key}=0,1,2, say.")
    number_of_values(override)
    return override


def check_repeated(override: Override) -> None:
    """Raise UsageError where a seed or a fold is searched, of which a search would find the luckiest."""
    key = override.get_key_element()
    if key.lstrip("+") in REPLICATES:
        raise UsageError(
            f"{short(override.input_line or '')} would search for the luckiest {key}. "
            f"Set hydra.sweeper.average=[{key}] for the mean over them in each trial, or one value."
        )


def distribution(override: Override) -> BaseDistribution:
    """Return the values of an override as Optuna has them; UsageError where there are none."""
    value, written = override.value(), short(override.input_line or "")
    if isinstance(value, IntervalSweep):
        return interval_distribution(value, written)
    if "log" in getattr(value, "tags", ()):
        raise UsageError(f"{written}: log is for intervals. Take tag(log,interval(a,b)), or leave it out.")
    number_of_values(override)
    if isinstance(value, RangeSweep):
        return number_range(value)
    return CategoricalDistribution(list(dict.fromkeys(override.sweep_string_iterator())))


def interval_distribution(sweep: IntervalSweep, written: str) -> BaseDistribution:
    """Return the numbers between two ends; UsageError for a wrong order, and for a logarithm of 0 or less."""
    low, high = sweep.start, sweep.end
    assert low is not None
    assert high is not None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UsageError(f"{written} has no numbers in it: interval(a,b) takes finite numbers with a < b.")
    log = "log" in sweep.tags
    if log and low <= 0:
        raise UsageError(f"{written} has no logarithm at {low:g}: tag(log,interval(a,b)) takes numbers with 0 < a < b.")
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)


def number_range(sweep: RangeSweep) -> BaseDistribution:
    """Return the numbers of a range, which has some, from the lowest to the highest."""
    start, stop, step = (Decimal(str(number)) for number in (sweep.start, sweep.stop, sweep.step))
    end = start + (math.ceil((stop - start) / step) - 1) * step
    low, high, width = min(start, end), max(start, end), abs(step)
    if all(isinstance(number, int) for number in (sweep.start, sweep.stop, sweep.step)):
        return IntDistribution(int(low), int(high), step=int(width))
    return FloatDistribution(float(low), float(high), step=float(width))


def condition(key: str, text: str, searched: dict[str, Override], fixed: list[str], parse: Parse) -> Condition:
    """Return the condition `other=value` (or `other=value,value`) of a key; UsageError where it can never be met."""
    told = f"hydra.sweeper.conditions: {short(key)}: {short(text)}"
    if key not in searched:
        raise UsageError(f"{told} is about a key that is not searched. Searched are {', '.join(searched)}.")
    (other,) = parse([text])
    name, wanted = other.get_key_element(), frozenset(single_overrides(other))
    if name not in searched:
        if wanted & set(fixed):
            return Condition(name, wanted)
        raise UsageError(f"{told} never holds: {name} is not searched. Leave the condition out, or {short(key)}.")
    if not searched[name].is_choice_sweep():
        raise UsageError(f"{told} depends on a number. A condition names a key with a list of values, as model=mlp.")
    if not wanted & set(single_overrides(searched[name])):
        raise UsageError(f"{told} never holds: the values are {override_text(searched[name])}.")
    return Condition(name, wanted)


def parents_first(keys: list[str], conditions: dict[str, Condition]) -> list[str]:
    """Return the keys, each behind the one it depends on, else in their order; UsageError where they go in a circle."""
    depends = {key: [conditions[key].key] if key in conditions else [] for key in keys}
    try:
        return [key for key in TopologicalSorter(depends).static_order() if key in depends]
    except CycleError as error:
        circle = " -> ".join(error.args[1])
        raise UsageError(f"hydra.sweeper.conditions go in a circle: {circle}. Leave one of them out.") from error
