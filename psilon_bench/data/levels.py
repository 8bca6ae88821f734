"""Levels of categories and names of classes: one spelling whatever type they arrive in, and their order."""

import math
import re
from datetime import datetime, time

WHOLE = re.compile(r"(-?(?:0|[1-9]\d*))\.0+")  # 3.0, not 007.0
LARGEST_EXACT = 2**53  # above it floats skip whole numbers


def spelled(level: object) -> str:
    """Return the spelling of a level: 3, 3.0, "3" and "3.0" are the level "3"; "007" and "1.10" are kept."""
    if isinstance(level, str):
        whole = WHOLE.fullmatch(level)
        return whole[1] if whole else level
    if isinstance(level, float) and level.is_integer() and abs(level) < LARGEST_EXACT:  # NumPy's float64 is a float
        return str(int(level))
    if isinstance(level, datetime) and level.time() == time():
        return str(level.date())
    return spelled(str(level))


def class_name(level: object) -> str:
    """Return the name of a class: text as it is, and whole numbers without a fraction.

    Whole numbers arrive as floats where a value is missing elsewhere in the column; the classes stay 0, 1, 2.
    """
    return level if isinstance(level, str) else spelled(level)


def natural(level: object) -> tuple[bool, float, str]:
    """Return a sorting key by which numbers come first, in the order of their values (2 before 10), and then text."""
    text = str(level)
    value = _value(text)
    return (value is None, 0 if value is None else value, text)


def _value(text: str) -> float | None:
    """Return the number that a text says, None for other text; integers, which compare exactly, stay integers."""
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        return value if math.isfinite(value) else None
    return None
