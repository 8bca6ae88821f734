"""Splits that a person or OpenML brings: row numbers of the training, validation and test rows of a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from psilon_bench.data import checks
from psilon_bench.data.checks import RowPlace
from psilon_bench.data.split import RowNumbers, Size, resolve_sizes, split_rows
from psilon_bench.errors import UsageError, in_one_line

WORDS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
COLUMNS = ("row", "split")  # of a file of row numbers


@dataclass(frozen=True)
class GivenSplit:
    """Row numbers of a table, int64 (count,) each, counted from 0 over the rows as its source gave them."""

    train: RowNumbers
    val: RowNumbers
    test: RowNumbers
    named_by: str  # the setting, for messages: dataset.split=part

    @property
    def rows(self) -> RowNumbers:
        """Return all rows that it names, int64 (count,)."""
        return np.concatenate([self.train, self.val, self.test])

    def parts(self, index: pd.Index) -> list[RowNumbers]:
        """Return the places of the training, validation and test rows in a table of which rows were left out.

        index: the row number (rows,) of each row that is left. Raises UsageError where no training or no test row is.
        """
        places = [index.get_indexer(rows) for rows in (self.train, self.val, self.test)]
        parts = [place[place >= 0] for place in places]
        for name, part in zip(("train", "test"), (parts[0], parts[2]), strict=True):
            if not len(part):
                raise UsageError(f"{self.named_by} must name rows for {name}, but names none that has a target.")
        return parts


def with_validation(
    parts: Sequence[RowNumbers],
    val_size: Size | None,
    seed: int,
    labels: np.ndarray | None,
    groups: np.ndarray | None,
) -> list[RowNumbers]:
    """Return the parts with validation rows cut from the training rows where a split brings none.

    val_size: a number of rows or a fraction of the training rows; None: half of them. labels, groups: (rows,) as
    split_rows has them, of all rows. Raises UsageError for sizes that do not fit.
    """
    train, val, test = parts
    if len(val):
        return [train, val, test]
    counts = resolve_sizes(len(train), [None, val_size], names=("train", "val"))
    own_labels, own_groups = (None if values is None else values[train] for values in (labels, groups))
    kept, cut = split_rows(len(train), counts, seed, own_labels, own_groups)
    return [train[kept], train[cut], test]


def split_of_words(words: pd.Series, rows: RowNumbers, named_by: str, place: RowPlace) -> GivenSplit:
    """Return the split that words (rows,) make of these row numbers: train, val (valid, validation) or test.

    `place` finds a label of the words' index for a person. Raises UsageError that names the first row of another word.
    """
    parts = words.map(lambda word: WORDS.get(str(word).strip().lower()), na_action="ignore")
    wrong = parts.isna().to_numpy()
    if wrong.any():
        label = words.index[wrong.argmax()]
        holds = "is empty" if pd.isna(words[label]) else f"holds {str(words[label])[:40]!r}"
        raise UsageError(
            f"{named_by} must say train, val (valid, validation) or test in every row, but {place(label)} {holds}. "
            "Correct it."
        )
    train, val, test = (rows[(parts == part).to_numpy()] for part in ("train", "val", "test"))
    return GivenSplit(train, val, test, named_by)


def split_of_file(path: Path, target: pd.Series) -> GivenSplit:
    """Return the split of a CSV or Parquet file with the columns `row` (from 0) and `split`; see split_of_words.

    Rows that it does not name are left out. target: (rows,) of the table. Raises UsageError for a file that cannot be
    read, for a row that is named twice, that the table does not have, or that has no target.
    """
    named_by = f"dataset.split={path.name}"
    frame = _read(path, named_by)
    rows = frame[COLUMNS[0]]
    first = 2 if path.suffix.lower() == ".csv" else 1  # the header is line 1

    def place(entry: int) -> str:
        return f"{'line' if first == 2 else 'row'} {entry + first} of {path.name}"

    for wrong, what in (
        (rows.duplicated(), "is named twice"),
        ((rows < 0) | (rows >= len(target)), f"is not in the table, whose rows are 0 to {len(target) - 1}"),
    ):
        if wrong.any():
            entry = int(wrong.to_numpy().argmax())
            raise UsageError(f"{named_by} names each row of the table once, but {rows[entry]} ({place(entry)}) {what}.")
    unlabelled = target.iloc[rows].isna().to_numpy()
    if unlabelled.any():
        entry = int(unlabelled.argmax())
        raise UsageError(f"{named_by} names row {rows[entry]} ({place(entry)}), which has no target. Leave it out.")
    return split_of_words(frame[COLUMNS[1]], rows.to_numpy(dtype=np.int64), named_by, place)


def _read(path: Path, named_by: str) -> pd.DataFrame:
    """Return the columns `row`, whole numbers, and `split`; UsageError where the file does not have them."""
    if not path.is_file():
        raise UsageError(f"{named_by} must be a file or a column of the table, but {path} is no file. Check the path.")
    try:
        frame = pd.read_csv(path) if path.suffix.lower() == ".csv" else pd.read_parquet(path)
    except (ValueError, OSError) as error:  # pyarrow's errors are of these kinds
        raise UsageError(f"{named_by} cannot be read ({in_one_line(error, 160)}). Check the file.") from error
    if absent := [name for name in COLUMNS if name not in frame]:
        raise UsageError(
            f"{named_by} must have the columns row and split, but lacks {checks.name_list(absent)}. "
            f"Columns: {checks.name_list(list(map(str, frame.columns)))}."
        )
    if not pd.api.types.is_integer_dtype(frame[COLUMNS[0]]) or frame[COLUMNS[0]].isna().any():
        raise UsageError(f"{named_by} must have whole numbers in its column row, from 0. Correct the file.")
    return frame.reset_index(drop=True)
