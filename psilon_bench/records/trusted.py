"""Fitted transformers and estimators in files that are data alone: reading a stranger's runs no code of theirs."""

import json
import zipfile
from pathlib import Path
from typing import Any

from psilon_bench.errors import UsageError

OURS = (
    *(f"psilon_bench.data.preprocessing.{name}" for name in ("as_cycles", "as_days", "as_number", "as_text")),
    *(f"psilon_bench.data.preprocessing.{name}" for name in ("cycle_names", "level_name")),
    "psilon_bench.data.image_scaler.ImageScaler",
    "numpy.dtype",
)
REMEDY = "Train the run again."


def dump(value: object, path: Path) -> None:
    """Of scikit-learn's objects and those of OURS; `load` reads it."""
    import skops.io  # half a second

    skops.io.dump(value, path, compression=zipfile.ZIP_DEFLATED)


def load(path: Path) -> Any:
    """UsageError where anything but scikit-learn's objects and OURS is in the file, before any of it is made.

    Trees are not among them: a wrong index in one reads memory that is none of its own.
    """
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        return skops.io.load(path, trusted=[*OURS])
    except UntrustedTypesFoundException as error:
        brief = str(error).splitlines()[0].removesuffix(".").rpartition(": ")[2]
        raise UsageError(
            f"A record must hold nothing that could run code, but {path} holds {brief}. Use records of your own."
        ) from error
    except FileNotFoundError as error:
        raise UsageError(f"{path} is not there: the record is not whole, or of an earlier version. {REMEDY}") from error
    except (zipfile.BadZipFile, json.JSONDecodeError, KeyError, ValueError, TypeError, OSError) as error:
        brief = " ".join(str(error).split())[:160]
        raise UsageError(f"{path} cannot be read ({brief}). {REMEDY}") from error
