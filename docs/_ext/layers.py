"""The block `layers` of a page: the order of the packages, as import-linter holds it."""

import tomllib
from pathlib import Path
from typing import Any

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
BLOCK = "```{layers}\n```"


def layers() -> list[str]:
    """Return the layers of the package from above to below, as pyproject.toml names them."""
    with PYPROJECT.open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    return next(list(one["layers"]) for one in contracts if one.get("containers") == ["psilon_bench"])


def read(_app: Any, _name: str, content: list[str]) -> None:
    """Put the layers in the place of the block, before the page is parsed."""
    content[0] = content[0].replace(BLOCK, "\n".join(["```text", *layers(), "```"]))


def setup(app: Any) -> dict[str, bool]:
    """Let Sphinx call this extension with the source of each page."""
    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
