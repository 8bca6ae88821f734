"""Small real data sets that come with scikit-learn: nothing is fetched, and they are ready in milliseconds."""

import hashlib
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import NonNegativeInt, PositiveInt

from psilon_bench.config.marks import checked_by, settled_by
from psilon_bench.data import cache, store
from psilon_bench.data.folds import Fold, FoldCount, Folds
from psilon_bench.data.split import Size
from psilon_bench.data.split_settings import check_split, without_unused
from psilon_bench.data.standardisation import ScalingName
from psilon_bench.data.tabular import RawTable, TaskOptions, make_task
from psilon_bench.data.task import Task
from psilon_bench.errors import UsageError

BundledName = Literal["breast_cancer", "wine", "digits", "diabetes"]
UCI = "CC BY 4.0"
LICENCES = {"breast_cancer": UCI, "wine": UCI, "digits": UCI, "diabetes": "not stated (Efron et al. 2004)"}


@checked_by(check_split)
@settled_by(without_unused)
def load(
    name: BundledName,
    train_size: Size | None,
    val_size: Size | None,
    test_size: Size | None,
    max_rows: PositiveInt | None,
    scaling: ScalingName,
    split_seed: NonNegativeInt,
    folds: FoldCount | None,
    fold: Fold | None,
    repeat: NonNegativeInt,
) -> Task:
    """Return one of scikit-learn's data sets as a task.

    The sizes are numbers or fractions of the rows in use, at most `max_rows` (None: all); data/split.py has the rule.
    Categories and classes keep their proportions in every split. With `folds`, fold number `fold` of the rows that are
    not test rows validates and the others train; data/folds.py has the rule. Raises UsageError for sizes that do not
    fit.
    """
    cut = Folds.of(folds, fold, repeat)
    sizes = [train_size, val_size, test_size]
    return make_task(bundled_table(name), TaskOptions(sizes, max_rows, split_seed, folds=cut, scaling=scaling))


@cache.cached_by_bytes(cache.raw, lambda name: (name,))
def bundled_table(name: BundledName) -> RawTable:
    """Return the data set as a raw table; its checksum is that of the table written as CSV.

    It is read once and then kept in the data cache: to import scikit-learn takes longer than all else before a run.
    """
    try:
        entry = store.obtain(
            f"bundled/{name}-{version('scikit-learn')}", partial(_keep, name), offline=False, remedy=""
        )
        frame, about = pd.read_parquet(entry.table), entry.about
    except (UsageError, OSError):  # the cache has no place to be
        frame, about = _read(name)
    return RawTable(
        name=name,
        frame=frame,
        target="target",
        regression=about["regression"],
        categorical=[],
        source=f"scikit-learn: sklearn.datasets.load_{name}",
        licence=LICENCES[name],
        checksum=about["checksum"],
    )


def _keep(name: BundledName, folder: Path) -> store.About:
    """Write the table into a folder of the data cache, and return what about.json is to say."""
    frame, about = _read(name)
    frame.to_parquet(folder / "data.parquet", index=False)
    return about


def _read(name: BundledName) -> tuple[pd.DataFrame, store.About]:
    """Return the table (rows x features and `target`) from scikit-learn, and what there is to say of it.

    Classes are written as their names. diabetes is taken as it was measured: scikit-learn would centre and scale it
    over all rows, those of the test set included.
    """
    from sklearn import datasets  # two seconds, which runs on other data do not spend

    options = {"scaled": False} if name == "diabetes" else {}
    bunch = getattr(datasets, f"load_{name}")(as_frame=True, **options)
    classes = [str(c) for c in bunch.get("target_names", [])]
    frame = bunch.frame
    if classes:
        frame = frame.assign(target=[classes[c] for c in frame["target"]])
    checksum = hashlib.sha256(frame.to_csv(index=False).encode()).hexdigest()
    about = {"name": name, "target": "target", "rows": len(frame), "features": frame.shape[1] - 1}
    return frame, about | {"regression": not classes, "checksum": checksum}
