"""The split in the order of a column: training on the past, validation on the middle, testing on the latest rows."""

import numpy as np
import pandas as pd

from psilon_bench.data.checks import RowPlace
from psilon_bench.data.split import RowNumbers
from psilon_bench.errors import UsageError


def split_by_order(moments: pd.Series, counts: list[int], place: RowPlace) -> list[RowNumbers]:
    """Return the row numbers of training, validation and test set, int64 (count,) each, the earliest rows first.

    moments: (rows,) dates or numbers. Where the counts leave rows over, these are the earliest. Rows of equal moments
    stay in one split, that into which the middle of them falls, so the counts are met as nearly as that allows. Raises
    UsageError for a missing moment, which `place` finds for a person, and where a split would be empty.
    """
    missing = moments.isna().to_numpy()
    if missing.any():
        more = f" (and {missing.sum() - 1} more)" if missing.sum() > 1 else ""
        raise UsageError(
            f"dataset.order_by={moments.name} must have a value in every row, but has none in "
            f"{place(moments.index[missing.argmax()])}{more}. Fill it in, or remove the row."
        )
    _, moment, size = np.unique(moments.to_numpy(), return_inverse=True, return_counts=True)
    middle = np.cumsum(size) - size / 2 - (len(moments) - sum(counts))
    part = np.where(middle < 0, -1, np.searchsorted(np.cumsum(counts), middle, side="right"))[moment]
    in_order = np.argsort(moment, kind="stable")
    rows = [in_order[part[in_order] == index] for index in range(len(counts))]
    if min(map(len, rows)) == 0:
        raise UsageError(
            f"Rows of one value of dataset.order_by={moments.name} stay together, but its {len(size)} values make "
            f"{'/'.join(str(len(part)) for part in rows)} rows. Take a finer column, or ask for larger splits."
        )
    return rows
