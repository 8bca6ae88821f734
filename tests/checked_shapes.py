"""The shapes in the annotations of the mathematical packages, checked at every call in the tests of these packages.

This module has to be imported before the packages are, for jaxtyping's hook rewrites modules as they are loaded. In
other tests the check is off: it takes time, and torch.compile cannot trace it.
"""

from pathlib import Path

import jaxtyping
from beartype import BeartypeConf, beartype

FOLDERS = ("models", "regularizers", "pruning", "metrics")  # of the package, and of its tests

check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as it is to mypy

jaxtyping.install_import_hook([f"psilon_bench.{folder}" for folder in FOLDERS], f"{__name__}.check")


def switch(test: Path, off: bool) -> None:
    """Check shapes from now on if the test lies in the folders and does not want the check off."""
    jaxtyping.config.update("jaxtyping_disable", off or test.parent.name not in FOLDERS)
