"""preprocessing.json: what makes inputs of raw rows, as a run fitted it, in plain data; reading it runs nothing.

Floats come back to the last bit. The file of a run without raw rows holds null.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from psilon_bench.data.image_scaler import ImageScaler
from psilon_bench.data.preprocessing import Preprocessing
from psilon_bench.errors import UsageError, in_one_line
from psilon_bench.records import places
from psilon_bench.records.atomic_files import write_text

TRAIN_AGAIN = "Train the run again."
OF_FILE: TypeAdapter[Preprocessing | ImageScaler | None] = TypeAdapter(
    Annotated[Preprocessing | ImageScaler, Field(discriminator="kind")] | None
)


def write_preprocessing(folder: Path, fitted: Preprocessing | ImageScaler | None) -> None:
    """Write preprocessing.json of a record whole or not at all."""
    text = OF_FILE.dump_json(fitted, indent=2).decode()
    write_text(folder / places.PREPROCESSING, text + "\n", flushed=False)


def read_preprocessing(folder: Path) -> Preprocessing | ImageScaler | None:
    """Return the preprocessing of a record; UsageError where it is not there, or is none."""
    path = folder / places.PREPROCESSING
    try:
        return OF_FILE.validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise UsageError(
            f"{path} is not there: the record is not whole, or of an earlier version. {TRAIN_AGAIN}"
        ) from error
    except (OSError, ValidationError) as error:
        raise UsageError(f"{path} cannot be read ({in_one_line(error, 160)}). {TRAIN_AGAIN}") from error
