"""Writes the pages of the reference that are made of the code, before Sphinx reads any page."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from command_reference import commands_page
from configuration_reference import configuration_page
from option_reference import options_page, presets_page
from python_reference import python_page

PAGES: dict[str, Callable[[], str]] = {
    "reference/configuration.md": configuration_page,
    "reference/options.md": options_page,
    "reference/presets.md": presets_page,
    "reference/commands.md": commands_page,
    "reference/python.md": python_page,
}


def write_pages(app: Any, _config: Any) -> None:
    """Write each page, unless it stands there already: Sphinx reads again what has changed."""
    for name, make in PAGES.items():
        file, text = Path(app.srcdir, name), make()
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Let Sphinx call this extension once it knows where the pages lie."""
    app.connect("config-inited", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
