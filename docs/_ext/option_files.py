"""What the files of conf/ say beside their values: the comment of each key."""

import re
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from psilon_bench.config.option_file import base_option

KEY = re.compile(r"^(?P<indent> *)(?P<key>[\w]+):(?: (?P<value>.*?))?(?:\s+# (?P<comment>.*))?$")


def comments(text: str) -> dict[str, str]:
    """Return the comment of each dotted key: that in its line, and whole lines of comment above it."""
    found: dict[str, str] = {}
    above: list[str] = []
    parents: list[tuple[int, str]] = []
    for line in text[len(header_block(text)) :].splitlines():
        stripped = line.strip()
        if stripped.startswith("#"):
            above.append(stripped.removeprefix("#").strip())
        elif (match := KEY.match(line)) is not None:
            indent = len(match["indent"])
            parents = [*(one for one in parents if one[0] < indent), (indent, match["key"])]
            found[".".join(key for _, key in parents)] = "; ".join(filter(None, [" ".join(above), match["comment"]]))
            above = []
    return {key: comment for key, comment in found.items() if comment}


def header_block(text: str) -> str:
    """Return the comment at the top as it stands in the file, where it says what the file is.

    A file whose first key has its comment above it, and that has no words of its own, has none.
    """
    block = re.match(r"(?:#.*\n)*", text)
    assert block is not None
    return block[0]


def option_comments(file: Path) -> dict[str, str]:
    """Return the comments of an option's keys, those of the options it builds on included."""
    text = file.read_text(encoding="utf-8")
    found: dict[str, str] = {}
    values = OmegaConf.load(file)
    for parent in values.get("defaults", []) if isinstance(values, DictConfig) else []:
        if parent != "_self_":
            found |= option_comments(base_option(file.parent, parent))
    return found | comments(text)
