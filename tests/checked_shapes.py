"""From its import on, the shapes that the mathematical packages state in their annotations are checked at every call.

It has to be imported before these packages are: jaxtyping's hook rewrites modules as they are loaded.
"""

from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

PACKAGES = ["models", "regularizers", "pruning", "metrics"]

check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as it is to mypy

install_import_hook([f"psilon_bench.{package}" for package in PACKAGES], f"{__name__}.check")
