"""Escaping of text from records, which anybody may have written, for a terminal, Markdown, HTML and spreadsheets."""

import html
import re
from typing import Any

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")  # a spreadsheet computes cells that begin so; the wide forms, too
MARKDOWN = re.compile(r"[\\`*\[\]|~$#]|(?<![^\W_])_|_(?![^\W_])")  # an underscore within a word marks nothing
BLOCK = re.compile(r"^(\d*)([-+=]+|[.)])(?=\s|$)")  # at the start of a line: a list, a rule, a heading


def visible(value: Any) -> Any:
    """Return text in one line without control characters, which drive terminals and break XML.

    In dictionaries and lists all text is treated so; other values are returned as they are.
    """
    if isinstance(value, str):
        return value if CONTROL.search(value) is None else CONTROL.sub(replacement, value).strip()
    if isinstance(value, dict):
        return {visible(key): visible(inner) for key, inner in value.items()}
    return [visible(inner) for inner in value] if isinstance(value, list) else value


def replacement(found: re.Match[str]) -> str:
    """Return a space for white space, and a replacement mark for what could not be shown."""
    return " " if found[0].isspace() else "\N{REPLACEMENT CHARACTER}"


def markdown(text: str) -> str:
    """Return text that Markdown shows as it is: no HTML, columns, links, emphasis or formulas."""
    escaped = MARKDOWN.sub(r"\\\g<0>", html.escape(visible(text).strip(), quote=False))
    return BLOCK.sub(r"\1\\\2", escaped)


def spreadsheet(cell: Any) -> Any:
    """Return a field of a CSV file: text that would be a formula begins with an apostrophe; numbers are kept."""
    if not isinstance(cell, str):
        return cell
    text = visible(cell)
    return f"'{text}" if text.startswith(FORMULA) and not all(map(is_number_text, text.split(" to "))) else text


def is_number_text(text: str) -> bool:
    """Tell whether text is a number as tables show it: -1,234.5"""
    try:
        float(text.replace(",", ""))
    except ValueError:
        return False
    return True
