"""Records and published numbers of the same three data sets, and their comparison."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from made_records import write_record

from psilon_bench.report.against import Comparison, compare_with
from psilon_bench.report.metric import chosen_by
from psilon_bench.report.our_tests import our_tests
from psilon_bench.report.published import read_published
from psilon_bench.report.report import make

LOSS = chosen_by("val/loss", None)
METHODS = [f"m{number}" for number in range(7)]


def write_runs(folder: Path) -> Path:
    """Two methods of ours on a regression and on two data sets of classes, seeds of unequal numbers."""
    draw = np.random.default_rng(1)
    for dataset, kind, seeds in (("sea", "regression", 3), ("air", "binary", 2), ("soil", "multiclass", 1)):
        for model in ("pnet", "mlp"):
            for seed in range(seeds):
                names = ("rmse", "r2") if kind == "regression" else ("accuracy", "loss", "roc_auc")
                metrics = {f"test/{name}": float(draw.uniform(0.3, 0.9)) for name in names}
                metrics |= {"val/loss": 1.0, "time/fit_s": float(draw.uniform(1, 9))}
                params = {"model.name": model, "dataset.split": "split.csv"}
                write_record(folder, 1e-3, seed, metrics, dataset=dataset, kind=kind, params=params)
    return folder


def frame_of(names: Any = ("rmse", "roc_auc", "log_loss"), seed: int = 0) -> pd.DataFrame:
    """Published numbers of seven methods on the three data sets, with ties; one method is not on all."""
    draw = np.random.default_rng(seed)
    rows = [
        {"dataset": dataset, "method": method, "metric": metric, "value": round(float(draw.uniform(0.5, 0.9)), 1)}
        for dataset, metric in zip(("sea", "air", "soil"), names, strict=True)
        for method in METHODS
        if (dataset, method) != ("soil", "m6")
    ]
    return pd.DataFrame(rows).assign(seconds=np.arange(1, len(rows) + 1))


def compared(runs: Path, frame: pd.DataFrame, fold_key: str | None = None, name: str = "published.csv") -> Comparison:
    """The comparison of the records in a folder with a file that is written beside it."""
    file = runs.parent / name
    frame.to_csv(file, index=False) if name.endswith(".csv") else frame.to_parquet(file)
    return compare_with(read_published(file), our_tests(make([runs], LOSS).choices, fold_key))
