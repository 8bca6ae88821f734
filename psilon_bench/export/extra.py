"""Packages of the extra `onnx`, which are imported when they are needed."""

import importlib
from typing import Any

from psilon_bench.errors import UsageError


def require(package: str) -> Any:
    """Return an imported package; UsageError with the command that installs it where it is missing."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UsageError(
            f"--to onnx needs {package}, which is not installed. Install it: pip install 'psilon-bench[onnx]'."
        ) from error
