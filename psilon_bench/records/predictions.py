"""predictions.parquet of a record: what its network, or baseline, makes of each validation and test row."""

from pathlib import Path
from typing import Literal

import pandas as pd
import pyarrow as pa

from psilon_bench.errors import UsageError, in_brief
from psilon_bench.records import places
from psilon_bench.records.preprocessing_json import TRAIN_AGAIN

Part = Literal["val", "test"]


def read_predictions(folder: Path, part: Part) -> pd.DataFrame:
    """Return the rows of a part, as training.predictions writes them; UsageError where they cannot be read."""
    path = folder / places.PREDICTIONS
    try:
        frame = pd.read_parquet(path, filters=[("split", "==", part)])
        if lacking := {"row", "target"} - set(frame):
            raise ValueError(f"it has no column {min(lacking)}")
    except (OSError, pa.ArrowException, ValueError) as error:
        raise UsageError(f"{path} cannot be read ({in_brief(error)}). {TRAIN_AGAIN}") from error
    return frame
