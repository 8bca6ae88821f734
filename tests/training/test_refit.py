"""Refits, which have no validation rows: nothing is said of validation, and what needs it is refused."""

import io
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from rich.console import Console
from tiny import TINY

from psilon_bench.errors import UsageError
from psilon_bench.records.history import read_rows
from psilon_bench.regularizers.regularizer import Regularizer
from psilon_bench.run.checks import prepare
from psilon_bench.run.display import Display
from psilon_bench.run.run import run_alone


class Blown(Regularizer):
    """A penalty that overflows where lambda is not small."""

    def penalty(self, model: Any, **values: Any) -> Any:
        return 1e300 * next(model.parameters()).square().sum()


REFIT = "dataset=wine", "dataset.folds=5", "dataset.fold=all"
MODELS = [
    ("model=pnet",),
    ("pruner=l1_projection", "pruner.steps=3"),
    ("model=mlp", "reg=none", "pruner=magnitude", "trainer.prune_then_finetune=2"),
    ("model=mlp_factorized", "reg=pathprox", "optimizer=sgd", "scheduler=constant"),
]


@pytest.mark.parametrize("asked", MODELS)
def test_a_refit_says_nothing_of_validation(finished: Any, asked: Any) -> None:
    """No metric of that name, no NaN, no best network; all else is there."""
    record = finished(*asked, *REFIT)
    assert record.run["status"] == "finished"
    assert record.run["task"]["rows"] == {"train": 143, "val": 0, "test": 35}
    assert "fold=all" in record.run["title"]
    metrics = record.run["metrics"]
    rows = read_rows(record.folder / "history.csv")
    assert rows
    for numbers in (metrics, *rows):
        assert not [name for name in numbers if "val/" in name or name.startswith("best/")]
        assert all(map(math.isfinite, numbers.values()))
    assert {"train/loss", "test/loss", "test/accuracy", "near_sparsity"} <= set(metrics)
    assert not (record.folder / "best.pt").exists()
    assert (record.folder / "model.pt").exists()


def test_a_baseline_is_refitted_too(finished: Any, config: Any) -> None:
    model = ("model=ridge", "reg=none", "tracking=none", "trainer.epochs=1", *REFIT)
    record = run_alone(config(*model), Display(Console(file=io.StringIO())))
    assert not [name for name in record.run["metrics"] if "val/" in name]
    assert record.run["metrics"]["test/accuracy"] > 0.8


def test_the_rows_of_a_refit_are_shown_by_training_loss(config: Any) -> None:
    """Where a plain run shows its validation loss."""
    said = io.StringIO()
    run_alone(config(*TINY, *REFIT), Display(Console(file=said, width=200)))
    assert "train/loss" in said.getvalue()
    assert "val/" not in said.getvalue()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            "trainer.early_stopping=3",
            r"trainer.early_stopping=3 needs validation rows, and dataset.fold=all leaves none",
        ),
        ("trainer.select=best", r"trainer.select=best needs validation rows.* Set trainer.select=last"),
    ],
)
def test_what_needs_validation_rows_is_refused(config: Any, asked: Any, message: Any) -> None:
    with pytest.raises(UsageError, match=message):
        prepare(config(*TINY, *REFIT, asked))
    prepare(config(*TINY, *REFIT[:2], "dataset.fold=0", asked))


def test_divergence_is_judged_by_the_objective(train: Any, network: Any, task: Any) -> None:
    """A member whose objective is not finite fails with the step; its neighbour goes on as if alone."""

    def without_validation(seed: int) -> Any:
        made = task("regression", seed=seed)
        return replace(made, val=replace(made.val, x=made.val.x[:0], y=made.val.y[:0]))

    def run(*lams: float) -> Any:
        torch.manual_seed(1)
        models = [network("pnet", 5, 1) for _ in lams]
        return train(models, [without_validation(7)] * len(lams), lams=list(lams), regularizer=Blown())

    both, alone = run(0.0, 1e300), run(0.0)
    assert [member.status for member in both.fit.members] == ["finished", "failed"]
    assert "the objective is inf at step 1" in both.fit.members[1].reason
    assert not both.rows[1]
    for row, lone in zip(both.rows[0], alone.rows[0], strict=True):
        assert row == pytest.approx(lone, abs=1e-12)
        assert "val/loss" not in row
