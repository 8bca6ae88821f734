"""Overrides one by one: an override that Hydra's grammar cannot read is told with the quotes it needs."""

import functools
import shlex

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, Quote, QuotedString
from hydra.errors import HydraException

from psilon_bench.config.conf_folder import CONF, option_files
from psilon_bench.config.signature import nearest
from psilon_bench.errors import UsageError, short


@functools.cache
def parser() -> OverridesParser:
    """Return Hydra's parser of overrides."""
    return OverridesParser.create()


def parse(override: str) -> Override:
    """Return an override as Hydra reads it; UsageError, with the way to write it, where Hydra cannot."""
    try:
        (parsed,) = parser().parse_overrides([override])
    except (HydraException, ValueError, RecursionError) as error:  # ValueError: a number of 5000 digits
        raise UsageError(unreadable(override, error)) from error
    if not parsed.key_or_group:
        raise UsageError(unreadable(override))
    return parsed


def is_readable(override: str) -> bool:
    """Tell whether Hydra's grammar takes an override."""
    try:
        parse(override)
    except UsageError:
        return False
    return True


def unreadable(override: str, error: Exception | None = None) -> str:
    """Return what is wrong with an override, and how its value is quoted where that helps."""
    key, equals, value = override.partition("=")
    named = short(key) or "''"
    if not equals:
        return f"{named} is neither an option nor key=value. psilon-run --help shows what there is."
    if not is_key(key):
        return f"{named} is not a key. Keys have letters, digits and _ with dots in between, as in reg.lam=1e-3."
    lines = [line.strip() for line in str(error or "").splitlines()]
    reasons = [line for line in lines if "while evaluating" in line]
    if reasons:
        return f"{short(override)} cannot be read: {short(reasons[0])}."
    return f"{key}={short(value)} cannot be read. Put the value in quotes: {shell_quoted(key, value)}"


def is_key(key: str) -> bool:
    """Tell whether Hydra takes this key with some value."""
    try:
        return bool(parser().parse_override(f"{key}=1").key_or_group)
    except HydraException:
        return False


def quoted(value: str) -> str:
    """Return a value in the quotes by which Hydra's grammar reads it as this text."""
    return QuotedString(value, Quote.double).with_quotes()


def shell_quoted(key: str, value: str) -> str:
    """Return KEY=VALUE as a shell needs it; a long value is left out."""
    return shlex.quote(f"{key}={quoted(value)}") if len(value) <= 80 else f"""'{key}="..."'"""


def check_choice(override: Override) -> None:
    """Raise UsageError where a group is to have no option, or several at once."""
    group = override.key_or_group
    value = override.value()
    if isinstance(value, str) or override.is_add() or override.is_force_add() or group not in sections():
        return
    values = value.list if isinstance(value, ChoiceSweep) else [value]
    if override.is_delete() or any(not isinstance(one, str | QuotedString | Glob) for one in values):
        several = f" Several, one run each: psilon-run -m {group}=a,b." if isinstance(value, list) else ""
        raise UsageError(
            f"{short(str(override.input_line))} is not an option of the group {group}, and a run has exactly one."
            f"{several}{nearest('', option_files(group))}"
        )


@functools.cache
def sections() -> frozenset[str]:
    """Return the groups of which every run has an option."""
    from omegaconf import OmegaConf

    return frozenset(key for entry in OmegaConf.load(CONF / "config.yaml").defaults for key in entry if key != "_self_")


def check_lone(override: Override) -> None:
    """Raise UsageError where a single run is given several values."""
    if override.is_sweep_override():
        key, _, value = str(override.input_line).partition("=")
        raise UsageError(
            f"{key}={short(value)} stands for several runs, and this is one. Add -m for a sweep, or put the value in "
            f"quotes: {shell_quoted(key, value)}"
        )
