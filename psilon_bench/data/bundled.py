"""Small real data sets that come with scikit-learn: nothing to fetch, ready in milliseconds."""

import hashlib
from typing import Literal

import pandas as pd
from pydantic import NonNegativeInt, PositiveInt
from sklearn import datasets

from psilon_bench.data import cache
from psilon_bench.data.split import Size
from psilon_bench.data.tabular import RawTable, TaskOptions, make_task
from psilon_bench.data.task import Task

BundledName = Literal["breast_cancer", "wine", "digits", "diabetes"]
UCI = "CC BY 4.0"
LICENCES = {"breast_cancer": UCI, "wine": UCI, "digits": UCI, "diabetes": "not stated (Efron et al. 2004)"}


def load(
    name: BundledName,
    train_size: Size | None,
    val_size: Size | None,
    test_size: Size | None,
    max_rows: PositiveInt | None,
    split_seed: NonNegativeInt,
) -> Task:
    return make_task(_raw(name), TaskOptions([train_size, val_size, test_size], max_rows, split_seed))


@cache.cached_by_bytes(cache.raw, lambda name: (name,))
def _raw(name: BundledName) -> RawTable:
    frame, classes = _read(name)
    return RawTable(
        name=name,
        frame=frame,
        target="target",
        regression=not classes,
        categorical=[],
        source=f"scikit-learn: sklearn.datasets.load_{name}",
        licence=LICENCES[name],
        checksum=hashlib.sha256(frame.to_csv(index=False).encode()).hexdigest(),
    )


def _read(name: BundledName) -> tuple[pd.DataFrame, list[str]]:
    """diabetes comes centred and scaled over all its rows, unless asked for as measured."""
    options = {"scaled": False} if name == "diabetes" else {}
    bunch = getattr(datasets, f"load_{name}")(as_frame=True, **options)
    classes = [str(c) for c in bunch.get("target_names", [])]
    frame = bunch.frame
    if classes:
        frame = frame.assign(target=[classes[c] for c in frame["target"]])
    return frame, classes
