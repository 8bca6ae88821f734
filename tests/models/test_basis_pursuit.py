"""Basis pursuit as a model: it records what the oracle finds, and refuses what is no recovery."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
import skops.io
from rich.console import Console

from psilon_bench.data.tasks import load_task
from psilon_bench.errors import StackFailed, UsageError
from psilon_bench.run.display import Display
from psilon_bench.run.run import run_alone

SMALL = ("dataset.num_measurements=12", "dataset.num_features=18", "dataset.entries=normal")


@pytest.fixture
def fitted(config: Any) -> Any:
    """fitted("seed=3"): the record of a run on sparse recovery, and its task."""

    def fitted(*overrides: Any) -> Any:
        own = config("dataset=sparse_recovery", "model=basis_pursuit", "reg=none", "tracking=none", *overrides)
        record = run_alone(own, Display(Console(quiet=True)))
        return record, load_task(own.dataset.text())

    return fitted


@pytest.mark.parametrize(("num_nonzero", "noise"), [(2, 0.0), (11, 0.0), (2, 0.3)])
def test_it_is_the_oracles_vector(fitted: Any, num_nonzero: Any, noise: Any) -> None:
    """A x = b, the least 1-norm, its error and support; the planted vector where recovery holds alone."""
    record, task = fitted(*SMALL, f"dataset.num_nonzero={num_nonzero}", f"dataset.noise={noise}", "seed=3")
    a, b, planted = (values.numpy() for values in (task.train.x, task.train.y[:, 0], task.test.y[:, 0]))
    pursued, metrics = reference.basis_pursuit(a, b), record.run["metrics"]
    error = np.linalg.norm(pursued - planted) / np.linalg.norm(planted)
    assert metrics["norm1"] == pytest.approx(np.abs(pursued).sum(), rel=1e-6)
    assert metrics["test/error"] == pytest.approx(error, abs=1e-6)
    assert (error < 1e-6) == (num_nonzero == 2 and not noise)
    assert metrics["train/loss"] < 1e-20
    assert metrics["num_nonzero"] <= 12
    kept = skops.io.load(record.folder / "estimator.skops")
    np.testing.assert_allclose(kept.predict(a)[:, 0], b, atol=1e-9)


def test_measurements_that_no_vector_has(fitted: Any, tmp_path: Path) -> None:
    """More rows than columns, with noise: the record says why it failed."""
    rng = np.random.default_rng(0)
    files = {"matrix": rng.standard_normal((4, 3)), "measurements": rng.standard_normal(4), "vector": np.ones(3)}
    for name, values in files.items():
        np.save(tmp_path / f"{name}.npy", values)
    given = [f"dataset.{name}={tmp_path / name}.npy" for name in files]
    with pytest.raises(StackFailed, match=r"Basis pursuit needs measurements that some x has"):
        fitted(*given)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("dataset=wine", r"^model=basis_pursuit recovers x .* is a table for multiclass\. Take dataset=sparse_rec"),
        ("dataset=diabetes", r"dataset=diabetes is a table for regression\. Take dataset=sparse_recovery\.$"),
        ("reg=lasso", r"^reg=lasso does not fit model=basis_pursuit: .* Take reg=none\.$"),
    ],
)
def test_what_is_wrong_is_told(fitted: Any, override: Any, message: Any) -> None:
    """In one line, before anything is written."""
    with pytest.raises(UsageError, match=message):
        fitted(override)
    assert not Path("results").exists()
