"""The end of a run: what an engine returned, or what ended it, becomes the last word of a record."""

import contextlib
import traceback
from collections.abc import Callable, Sequence

import torch

from psilon_bench.errors import RecordsFailed
from psilon_bench.records import places, preprocessing_json
from psilon_bench.records.record import Record
from psilon_bench.training.engine import Engine, Outcome


def close(records: Sequence[Record], engine: Engine, tested: Callable[[], None]) -> None:
    """Write what came of each member into its record, and close it; records that have ended for good stay.

    tested: is called after each of them.
    """
    for record, outcome in zip(records, engine.outcomes(), strict=True):
        if not record.closed:
            write_outcome(record, outcome)
        tested()


def write_outcome(record: Record, outcome: Outcome) -> None:
    """Write all files of an outcome, then run.json with its status."""
    record.restore()
    for name, tensors in outcome.tensors.items():
        record.save_tensors(places.weights_name(name), tensors)
    preprocessing_json.write_preprocessing(record.folder, outcome.preprocessing)
    if outcome.estimator is not None:
        record.save_estimator(outcome.estimator)
    for name, table in outcome.tables.items():
        record.write(places.table_name(name), table.to_csv(index=False))
    if outcome.predictions is not None:
        record.save_parquet(places.PREDICTIONS, outcome.predictions)
    record.run |= outcome.details | {"diverged": outcome.diverged}
    record.run["hardware"] |= {"threads": torch.get_num_threads()}  # hardware.threads=auto chose after the start
    record.finish(outcome.status, outcome.metrics, outcome.reason)


def close_unfinished(records: Sequence[Record], error: BaseException) -> None:
    """Record `killed` for a signal; `failed`, with the traceback in the folder, for anything else.

    A folder that cannot be written keeps its run.json, which says `running` of a process that is gone.
    """
    killed = isinstance(error, KeyboardInterrupt)
    reason = str(error) if isinstance(error, RecordsFailed) else f"{type(error).__name__}: {error}".rstrip(": ")
    for record in records:
        if record.closed:
            continue
        with contextlib.suppress(OSError):
            record.finish("killed" if killed else "failed", reason=reason)
            if not killed:
                record.write(places.ERROR, traceback.format_exc())
