"""Links from pages to files outside of docs/, which become paths: who reads the repository follows them as they are."""

import os
import re
from pathlib import Path
from typing import Any

LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<to>\.\.?/[^)#\s]+)\)")


def with_paths(text: str, page: Path, docs: Path) -> tuple[str, list[str]]:
    """Return the text of a page with paths in the place of links that leave docs/, and those that lead nowhere."""
    missing: list[str] = []

    def replaced(link: re.Match[str]) -> str:
        place = Path(os.path.normpath(page.parent / link["to"]))
        if place.is_relative_to(docs):
            return link[0]
        if not place.exists():
            missing.append(link["to"])
        path = place.relative_to(docs.parent).as_posix()
        return f"`{path}`" if Path(link["text"].strip("`")).name == place.name else f"{link['text']} (`{path}`)"

    return LINK.sub(replaced, text), missing


def read(app: Any, name: str, content: list[str]) -> None:
    """Change the source of a page before it is parsed; notebooks have no such links."""
    from sphinx.util import logging  # here, so that tests need no Sphinx

    page = Path(app.env.doc2path(name))
    if page.suffix == ".md":
        content[0], missing = with_paths(content[0], page, Path(app.srcdir))
        for link in missing:
            logging.getLogger(__name__).warning("%s: %s is not in the repository", name, link)


def setup(app: Any) -> dict[str, bool]:
    """Let Sphinx call this extension with the source of each page."""
    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
