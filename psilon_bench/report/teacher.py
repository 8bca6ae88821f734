"""Writes teacher.parquet beside ensemble.json: see psilon_bench.data.teacher."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from psilon_bench.config.sections import TEACHER
from psilon_bench.data.teacher import DATA, TEST_ROWS, digest_of_rows
from psilon_bench.errors import UsageError
from psilon_bench.metrics.temperature import tempered
from psilon_bench.records.atomic_files import atomic_write
from psilon_bench.report.ensemble_rows import PREDICTION, predicted_columns


def teacher_table(mean: pd.DataFrame, tested: pd.Index, temperature: float | None, data: str) -> pa.Table | None:
    """Return what an ensemble predicts of the validation rows; None where rows have no numbers.

    mean: its mean of predictions, by the numbers of the validation rows; tested: those of its test rows; data: the
    checksum. Raises UsageError where a row is in both: what tests one network was validation for another.
    """
    if mean.index.hasnans or tested.hasnans:
        return None
    if len(both := mean.index.intersection(tested)):
        raise UsageError(
            f"--ensemble chooses by validation rows alone, but {len(both)} of them are test rows of other networks. "
            "Train with dataset.split_seed=0, so that all have the same test rows."
        )
    columns = predicted_columns(mean)
    values = mean[columns].to_numpy(float)
    values = values if temperature is None else tempered(values, temperature)
    labels = mean["target"] if columns == [PREDICTION] else mean["target"].astype(str)
    frame = pd.DataFrame({"row": mean.index, "target": labels.to_numpy()} | dict(zip(columns, values.T, strict=True)))
    table = pa.Table.from_pandas(frame, preserve_index=False)
    return table.replace_schema_metadata({DATA: data, TEST_ROWS: digest_of_rows(tested.to_numpy())})


def write_teacher(folder: Path, table: pa.Table | None) -> None:
    """Write the file whole or not at all, and remove that of an earlier ensemble where there is nothing to write."""
    if table is None:
        (folder / TEACHER).unlink(missing_ok=True)
        return
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / TEACHER) as part:
        pq.write_table(table, part)
