"""The directive `layers`: the order of the packages, as import-linter holds it."""

import tomllib
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def layers() -> list[str]:
    """Return the layers of the package from above to below, as pyproject.toml names them."""
    with PYPROJECT.open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    return next(list(one["layers"]) for one in contracts if one.get("containers") == ["psilon_bench"])


class Layers(Directive):
    """The layers as a literal block, the uppermost first."""

    def run(self) -> list[nodes.Node]:
        """Return the block."""
        text = "\n".join(layers())
        block = nodes.literal_block(text, text)
        block["language"] = "text"
        return [block]


def setup(app: Any) -> dict[str, bool]:
    """Tell Sphinx the directive."""
    app.add_directive("layers", Layers)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
