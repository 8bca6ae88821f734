"""predictions.parquet: the scores of a record can be computed again from it, row by row of the user's own table."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from sklearn import datasets, metrics
from tiny import TINY

from psilon_bench.records.networks import load
from psilon_bench.run.display import Display
from psilon_bench.run.run import run_alone

BUNDLED = ["breast_cancer", "wine", "diabetes"]
RIDGE = "model=ridge", "reg=none", "tracking=none"
FOREST = "model=random_forest", "model.n_estimators=9", "reg=none", "tracking=none"


@pytest.fixture
def recorded(config: Any) -> Any:
    """recorded("dataset=wine"): the record of a run, and its predictions."""

    def recorded(*asked: str) -> Any:
        record = run_alone(config(*asked), Display(Console(file=io.StringIO())))
        return record, pd.read_parquet(record.folder / "predictions.parquet")

    return recorded


@pytest.mark.sampled(every=3)
@pytest.mark.parametrize("model", [TINY, RIDGE, FOREST], ids=["pnet", "ridge", "forest"])
@pytest.mark.parametrize("dataset", BUNDLED)
def test_scores_can_be_computed_again(recorded: Any, dataset: str, model: Any) -> None:
    """By scikit-learn: accuracy, cross-entropy, root mean squared error; targets are those of the table."""
    record, table = recorded(f"dataset={dataset}", *model)
    bunch = getattr(datasets, f"load_{dataset}")(**({"scaled": False} if dataset == "diabetes" else {}))
    raw = bunch.target if dataset == "diabetes" else bunch.target_names[bunch.target]
    assert set(table["split"]) == {"val", "test"}
    for split, rows in table.groupby("split", observed=True):
        found = {name: value for name, value in record.run["metrics"].items() if name.startswith(f"{split}/")}
        assert len(rows) == record.run["task"]["rows"][split]
        if dataset == "diabetes":
            assert rows["target"].to_numpy() == pytest.approx(raw[rows["row"]], rel=1e-5)
            error = metrics.root_mean_squared_error(rows["target"], rows["prediction"])
            assert error / record.run["task"]["target"]["scale"] == pytest.approx(found[f"{split}/loss"], rel=1e-5)
            continue
        assert (rows["target"] == raw[rows["row"]]).all()
        classes = record.run["task"]["classes"]
        likely = rows[[f"probability/{name}" for name in classes]]
        assert likely.dtypes.eq("float32").all()
        assert likely.sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-6)
        assert (rows["target"] == rows["prediction"]).mean() == pytest.approx(found[f"{split}/accuracy"])
        right = np.array(classes)[likely.to_numpy().argmax(axis=1)] == rows["prediction"].to_numpy()
        assert right.all()
        if model is TINY:  # probabilities of a forest may be 0, which float32 and the loss round in their own ways
            assert metrics.log_loss(rows["target"], likely, labels=classes) == pytest.approx(
                found[f"{split}/loss"], rel=1e-5
            )


def test_a_saved_network_predicts_the_same(recorded: Any) -> None:
    """From raw rows, by number."""
    record, table = recorded("dataset=wine", *TINY, "dataset.folds=4", "dataset.fold=2")
    frame = datasets.load_wine(as_frame=True).data
    likely = load(record.folder).predict(frame.iloc[table["row"]])
    assert table.filter(like="probability/").to_numpy() == pytest.approx(likely, abs=1e-6)


def test_it_is_small_and_the_same_for_the_same_seed(recorded: Any) -> None:
    """Words are stored once."""
    first, second = (recorded("dataset=digits", *TINY, "seed=3")[0].folder / "predictions.parquet" for _ in range(2))
    assert first.read_bytes() == second.read_bytes()
    table = pq.read_table(first)
    assert first.stat().st_size < 60 * len(table) + 8000
    assert pq.ParquetFile(first).metadata.row_group(0).column(0).compression == "ZSTD"


def test_what_predicts_nothing_has_none(config: Any) -> None:
    asked = "dataset=sparse_recovery", "model=diagonal_linear", "reg=none", "optimizer=sgd", "scheduler=constant"
    brief = "tracking=none", "trainer.epochs=2", "trainer.eval_every=1", "trainer.num_batches=1"
    record = run_alone(config(*asked, *brief), Display(Console(file=io.StringIO())))
    assert record.run["status"] == "finished"
    assert not Path(record.folder, "predictions.parquet").exists()
