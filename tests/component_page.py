"""What docs/tutorials/component.md shows: commands and Python, for an example that may lie anywhere."""

import shlex
from pathlib import Path

import pages

EXAMPLE = pages.ROOT / "examples" / "own_component"
NAMED = "examples/own_component"  # what the page calls the folder


def blocks(language: str) -> list[str]:
    """The blocks of code in a language."""
    return [block.body for block in pages.blocks_of(pages.COMPONENT) if block.language == language]


def commands(example: Path) -> list[list[str]]:
    """The words of each command, as a shell splits them."""
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    return [shlex.split(line.replace(NAMED, str(example)), comments=True) for line in lines]


def python(example: Path) -> str:
    """The last block of Python; the one before is the file of the regularizer."""
    block = blocks("python")[-1]
    return block.replace(NAMED, str(example))
