"""Fitted transformers and estimators in files that are data alone: reading a stranger's file runs no code of theirs."""

import json
import zipfile
from pathlib import Path
from typing import Any

from psilon_bench.errors import UsageError, in_one_line

OWN_CLASSES = (
    *(f"psilon_bench.data.preprocessing.{name}" for name in ("as_cycles", "as_days", "as_number", "as_text")),
    *(f"psilon_bench.data.preprocessing.{name}" for name in ("cycle_names", "level_name")),
    "psilon_bench.data.image_scaler.ImageScaler",
    "numpy.dtype",
)
TRAIN_AGAIN = "Train the run again."


def write_fitted(value: object, path: Path) -> None:
    """Write an object of scikit-learn or of OWN_CLASSES; `read_fitted` reads it."""
    import skops.io  # half a second

    skops.io.dump(value, path, compression=zipfile.ZIP_DEFLATED)


def read_fitted(path: Path) -> Any:
    """Return the object in the file; UsageError where it holds other classes than scikit-learn's and OWN_CLASSES.

    The file is checked before any object is made.

    Trees are not among them: a wrong index in one reads memory that is none of its own.
    """
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        return skops.io.load(path, trusted=[*OWN_CLASSES])
    except UntrustedTypesFoundException as error:
        found = str(error).splitlines()[0].removesuffix(".").rpartition(": ")[2]
        raise UsageError(
            f"A record must hold nothing that could run code, but {path} holds {found}. Use records of your own."
        ) from error
    except FileNotFoundError as error:
        raise UsageError(
            f"{path} is not there: the record is not whole, or of an earlier version. {TRAIN_AGAIN}"
        ) from error
    except (zipfile.BadZipFile, json.JSONDecodeError, KeyError, ValueError, TypeError, OSError) as error:
        raise UsageError(f"{path} cannot be read ({in_one_line(error, 160)}). {TRAIN_AGAIN}") from error
