"""Pieces of Markdown: tables, cells and values as a command line has them."""

import re
from collections.abc import Iterable, Sequence
from typing import Any


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of Markdown with these columns."""
    lines = [heads, ["-"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell(text) for text in line)} |" for line in lines)


def cell(text: str) -> str:
    """Return text as a cell: in one line, with its bars escaped."""
    return " ".join(text.split()).replace("|", "\\|")


def code(value: str) -> str:
    """Return text as code."""
    fence = "``" if "`" in value else "`"
    return f"{fence}{value}{fence}" if value else ""


def as_written(value: Any) -> str:
    """Return a value as a file of YAML has it: null, true, 0.001, [1, 2]."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(as_written, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {as_written(one)}' for key, one in value.items())}}}"
    return str(value)


def linked(text: str) -> str:
    """Return text in which the paths of pages, such as docs/howto/racing.md, are links from a page of the reference."""
    return re.sub(r"docs/(\w+/(\w+)\.md)", lambda page: f"[{page[2].replace('_', ' ')}](../{page[1]})", text)
