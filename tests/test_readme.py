"""What the README shows is what there is: its commands compose, its Python runs."""

import pkgutil
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from psilon_bench.config.check import check

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
BLOCKS = re.findall(r"```(bash|python)\n(.*?)```", README, re.DOTALL)
LINES = [line for language, block in BLOCKS if language == "bash" for line in block.splitlines()]
COMMANDS = [line for line in LINES if line.startswith("psilon-run") and "--" not in line]
PYTHON = [block for language, block in BLOCKS if language == "python"]


def first_of_a_sweep(override: str) -> str:
    """key=a for key=a,b and for key=interval(a,b)."""
    parsed = OverridesParser.create().parse_override(override)
    if not parsed.is_sweep_override():
        return override
    if parsed.is_interval_sweep():
        return f"{parsed.get_key_element()}={parsed.value().start}"
    return f"{parsed.get_key_element()}={next(iter(parsed.sweep_string_iterator()))}"


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_valid(composed: Callable[..., DictConfig], command: str) -> None:
    """Each psilon-run of the README passes the check of its configuration."""
    overrides = [word for word in shlex.split(command, comments=True)[1:] if not word.startswith("-")]
    check(composed(*(first_of_a_sweep(override) for override in overrides)))


@pytest.mark.parametrize("block", PYTHON)
def test_python_runs(block: str) -> None:
    """Each Python block of the README runs as it stands."""
    exec(compile(block, "README.md", "exec"), {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_is_there(page: Path) -> None:
    """Links lead to files, and dotted names of the package to what they name."""
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert links
    for link in links:
        assert (page.parent / link).exists(), link
    for name in re.findall(r"`(psilon_bench(?:\.\w+)+)`", text):
        pkgutil.resolve_name(name)


def test_there_is_something_to_test() -> None:
    """The README keeps its examples."""
    assert len(COMMANDS) >= 4
    assert PYTHON
