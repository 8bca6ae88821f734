"""Bounds that hold for every value of a configuration, in whatever section it stands."""

import math
import unicodedata
from collections.abc import Iterator
from typing import Any

from psilon_bench.errors import UsageError, short, shown

LARGEST = 10**9
LARGEST_SEED = 2**63 - 1  # of torch
LONGEST_TEXT = 4096  # of a path on Linux


def check_values(values: dict[str, Any]) -> None:
    """Raise UsageError for the first value out of bounds.

    A number must be finite and not too large; text must not hold what no file name or terminal should get.
    """
    for key, value in every(values, ""):
        rule = broken_rule(key, value)
        if rule is not None:
            raise UsageError(f"{short(key)}={shown(value)} is not valid: it should be {rule}.")


def every(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Yield the dotted key and value of each leaf; elements of a list have the list's key."""
    if isinstance(value, dict):
        for name, inner in sorted(value.items(), key=lambda item: isinstance(item[1], dict)):  # a section's own first
            yield from every(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from every(inner, key)
    else:
        yield key, value


def broken_rule(key: str, value: Any) -> str | None:
    """Return what the value should be and is not; None for a value within bounds."""
    if isinstance(value, float) and not math.isfinite(value):
        return "a finite number"
    if isinstance(value, int):
        limit = LARGEST_SEED if key.endswith("seed") else LARGEST
        return f"at most {limit}" if abs(value) > limit else None
    if isinstance(value, str):
        if len(value) > LONGEST_TEXT:
            return f"at most {LONGEST_TEXT} letters"
        if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in value):
            return "text without control characters, in UTF-8"
    return None
