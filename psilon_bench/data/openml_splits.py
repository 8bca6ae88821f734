"""The splits of OpenML's tasks: which rows of the data train and which test, in each repeat and fold of a task."""

import functools
import itertools
import warnings
from pathlib import Path
from typing import Any

import arff
import pandas as pd

from psilon_bench.data import store
from psilon_bench.data.openml_fetch import SeedCache, UnreadableAnswer, origin, with_retries
from psilon_bench.data.store import About, Entry
from psilon_bench.errors import UsageError


def obtain_splits(task_id: int, offline: bool) -> Entry:
    """Return the cache's entry of the splits of an OpenML task, fetched first where it is missing.

    Its Parquet file has a row for each repeat, fold and row of the data, with `test` true or false. Raises UsageError
    as `obtain_task` does, and where the task has no splits, or learning curves of samples.
    """
    remedy = f"Run `psilon-data fetch openml --splits {task_id}` with a network first."
    make = functools.partial(_fetch_splits, task_id)
    return store.obtain(f"splits/{task_id}", make, offline=offline, remedy=remedy)


def _fetch_splits(task_id: int, folder: Path) -> About:
    """Fetch the splits of a task into data.parquet of the folder, and return what is known of them."""

    def ask(openml: Any, seed: SeedCache) -> About:
        seed(f"tasks/{task_id}")
        task = openml.tasks.get_task(task_id, download_splits=False)
        if not str(task.estimation_procedure["data_splits_url"] or "").startswith("http"):
            raise UsageError(f"OpenML task {task_id} has no splits. Set dataset.splits=null, or choose another task.")
        repeats, folds, samples = _dimensions(task)
        if samples != 1:
            raise UsageError(
                f"Each fold must be one split, but OpenML task {task_id} has {samples} samples of each. "
                "Choose another task."
            )
        _split_rows(task, repeats, folds).to_parquet(folder / "data.parquet", index=False, compression="zstd")
        about = {"task_id": task_id, "name": f"splits of task {task_id}", "repeats": repeats, "folds": folds}
        return about | origin(f"https://www.openml.org/t/{task_id}")

    return with_retries(ask, folder, f"splits of OpenML task {task_id}")


def _dimensions(task: Any) -> tuple[int, int, int]:
    """Return the numbers of repeats, folds and samples of a task, whose splits are fetched for that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the client leaves the file open that it reads
        try:
            return tuple(task.get_split_dimensions())
        except (arff.ArffException, ValueError, KeyError) as error:  # half a file
            raise UnreadableAnswer(str(error)) from error


def _split_rows(task: Any, repeats: int, folds: int) -> pd.DataFrame:
    """Return the rows of all splits of a task: repeat, fold, row (from 0), and whether it is a test row."""
    places = itertools.product(range(repeats), range(folds))
    found = [(r, f, *task.get_train_test_split_indices(repeat=r, fold=f)) for r, f in places]
    frames = [
        pd.DataFrame({"repeat": repeat, "fold": fold, "row": rows.astype("int64"), "test": is_test})
        for repeat, fold, train, test in found
        for rows, is_test in ((train, False), (test, True))
    ]
    return pd.concat(frames, ignore_index=True)
