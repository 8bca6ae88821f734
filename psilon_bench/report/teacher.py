"""Writes teacher.parquet beside ensemble.json: see psilon_bench.data.teacher."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from psilon_bench.config.sections import TEACHER
from psilon_bench.data.teacher import TEST_ROWS, digest_of_rows
from psilon_bench.errors import UsageError
from psilon_bench.metrics.temperature import tempered
from psilon_bench.records.atomic_files import atomic_write
from psilon_bench.report.ensemble_rows import PROBABILITY, replicates, rows_of_part
from psilon_bench.report.records import Run


def teacher_table(
    judged: Sequence[Sequence[Run]], members: Sequence[Sequence[Run]], weights: np.ndarray, temperature: float | None
) -> pa.Table | None:
    """Return the weighted mean of predictions of the validation rows; None where rows have no numbers.

    judged: the runs of each candidate that predict validation rows, members: those that were tested, weights:
    (candidates,). Raises UsageError where a row is in both: what tests one network was validation for another.
    """
    tested = rows_of_part([members[0][0]], "test").index
    picked = [runs for runs, weight in zip(judged, weights, strict=True) if weight]
    frames = [[rows_of_part(same, "val") for same in replicates(runs, "val")] for runs in picked]
    first = frames[0][0]
    if first.index.hasnans or tested.hasnans:
        return None
    if len(both := first.index.intersection(tested)):
        raise UsageError(
            f"--ensemble chooses by validation rows alone, but {len(both)} of them are test rows of other networks. "
            "Train with dataset.split_seed=0, so that all have the same test rows."
        )
    columns = [name for name in first if name.startswith(PROBABILITY)] or ["prediction"]
    own = [np.mean([frame[columns].to_numpy(float) for frame in of_one], axis=0) for of_one in frames]
    mean = np.tensordot(weights[weights > 0], own, axes=1)
    values = mean if temperature is None else tempered(mean, temperature)
    labels = first["target"] if columns == ["prediction"] else first["target"].astype(str)
    frame = pd.DataFrame({"row": first.index, "target": labels.to_numpy()} | dict(zip(columns, values.T, strict=True)))
    table = pa.Table.from_pandas(frame, preserve_index=False)
    return table.replace_schema_metadata({TEST_ROWS: digest_of_rows(tested.to_numpy())})


def write_teacher(folder: Path, table: pa.Table | None) -> None:
    """Write the file whole or not at all, and remove that of an earlier ensemble where there is nothing to write."""
    if table is None:
        (folder / TEACHER).unlink(missing_ok=True)
        return
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / TEACHER) as part:
        pq.write_table(table, part)
