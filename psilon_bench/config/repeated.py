"""Settings of a data set in which runs are repeated rather than tuned: seed of the split, fold, and their like.

Runs that differ in them alone train as one stack, share one source of data, and are what a report takes means over. A
refit, which has no validation rows, is the exception: it is trained after a choice, and no part of one.

How inputs are made of the same rows (INPUTS) is tuned, as what the network is: losses of such runs can be compared.
"""

from collections.abc import Mapping
from typing import Any

FOLDS = ("repeat", "fold", "test_repeat", "test_fold")
REPEATED = ("split_seed", *FOLDS)
INPUTS = ("scaling", "encoding", "dates")
INPUT_KEYS = tuple(f"dataset.{key}" for key in INPUTS)  # the only ones of `dataset` that are part of a setting
REPLICATES = ("seed", *(f"dataset.{key}" for key in REPEATED))  # the keys that tell the replicates of a setting apart
PARTITION = tuple(key for key in REPLICATES if key != "dataset.fold")  # those that all folds of a partition share
FOLD_COUNT = "dataset.folds"
REFIT = "all"  # the value of `fold` that leaves no row for validation


def without_repeated(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a dataset section that its splits have in common."""
    return {key: value for key, value in dataset.items() if key not in REPEATED}


def fold_words(dataset: Mapping[str, Any]) -> list[str]:
    """Return the words that tell the folds of a data set apart: `fold=3`, `repeat=1`, `test_fold=9`; none without."""
    own = ("fold", "repeat") if dataset.get("folds") is not None else ()
    brought = ("test_fold", "test_repeat") if dataset.get("splits") is not None else ()
    first = ("repeat", "test_repeat")  # of which 0 goes without saying
    return [f"{key}={dataset[key]}" for key in (*own, *brought) if key not in first or dataset[key]]
