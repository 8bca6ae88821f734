"""The trainer against a slow obvious loop: history, divergence, early stopping, selection."""

import copy
import dataclasses
import math
from functools import partial
from typing import Any

import pytest
import reference
import torch

from psilon_bench.regularizers.lp_norm import LpNorm
from psilon_bench.regularizers.path_norm import PathNorm
from psilon_bench.regularizers.regularizer import Regularizer

PENALTIES = {
    "none": (Regularizer(), lambda weights: torch.zeros(())),
    "l2": (LpNorm(p=2.0, scale=0.7), lambda weights: 0.7 * sum((w**2).sum() for w in weights)),
    "lasso": (LpNorm(p=1.0, scale=1.0), lambda weights: sum(w.abs().sum() for w in weights)),
    "pathnorm": (PathNorm("improved"), reference.path_norm_by_product),
}
RUNS = [
    ("pnet", "binary", "pathnorm", 0.02),
    ("pnet", "regression", "none", 0.0),
    ("snet", "multiclass", "l2", 0.03),
    ("plain", "multiclass", "pathnorm", 1e-3),
    ("snet", "regression", "lasso", 0.01),
]


@pytest.mark.parametrize(("kind", "target", "penalty", "lam"), RUNS)
def test_history_is_that_of_the_obvious_loop(
    train: Any, network: Any, settings: Any, task: Any, kind: Any, target: Any, penalty: Any, lam: Any
) -> None:
    """Every number of every row, and the final weights, with a learning rate that changes each epoch."""
    data, fast = task(target), network(kind, 5, task(target).num_outputs)
    slow, factors = copy.deepcopy(fast), [1.0, 0.5, 0.3, 2.0, 1.0, 0.1]
    regularizer, by_hand = PENALTIES[penalty]
    # where a unit is dead, Adam divides rounding errors by eps: its usual 1e-8 would make 1e-17 a move of 1e-10
    fused = partial(torch.optim.Adam, lr=0.05, eps=1e-3, fused=True)
    trained = train([fast], [data], regularizer, [lam], fused, factors.__getitem__)
    adam = torch.optim.Adam(slow.parameters(), eps=1e-3, foreach=False, fused=False)
    expected, _ = reference.train(slow, data, lam, by_hand, 10, settings(), adam, [0.05 * f for f in factors])
    assert len(trained.rows[0]) == len(expected) == 6
    for own, row in zip(trained.rows[0], expected, strict=True):
        assert own == pytest.approx(row, rel=1e-11, abs=1e-12)
    for name, value in slow.state_dict().items():
        torch.testing.assert_close(trained.fit.stack.state(0)[name], value, rtol=1e-11, atol=1e-12)


def test_rows_come_every_so_many_epochs_and_at_the_end(train: Any, network: Any, task: Any) -> None:
    """eval_every = 3 of 7 epochs: rows at 3, 6 and 7, each the mean over the steps since the last row."""
    data, model = task("binary"), network("pnet", 5, 1)
    every = train([copy.deepcopy(model)], [data], epochs=7).rows[0]
    third = train([model], [data], epochs=7, eval_every=3).rows[0]
    assert [(row["epoch"], row["step"]) for row in third] == [(3, 15), (6, 30), (7, 35)]
    for row, parts in zip(third, (every[:3], every[3:6], every[6:]), strict=True):
        for name in ("train/loss", "train/objective"):
            assert row[name] == pytest.approx(sum(part[name] for part in parts) / len(parts), rel=1e-12)
        assert row["val/loss"] == pytest.approx(parts[-1]["val/loss"], rel=1e-12)


@pytest.mark.parametrize("eval_every", [1, 2, 6])
def test_divergence_names_its_step(train: Any, network: Any, settings: Any, task: Any, eval_every: Any) -> None:
    """A rate that is too large: the step and its objective, and the rows of before, wherever one looks."""
    data, model = task("regression"), network("plain", 5, 1, depth=3, activation="leaky_relu")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.5)
    sgd, slow = partial(torch.optim.SGD, lr=0.3), copy.deepcopy(model)
    nothing = PENALTIES["none"][1]
    _, objectives = reference.train(slow, data, 0.0, nothing, 10, settings(), sgd(slow.parameters()), [0.3] * 6)
    assert not math.isfinite(objectives[-1])
    assert 11 < len(objectives) < 15, "in the middle of the third epoch"
    trained = train([model], [data], optimizer=sgd, eval_every=eval_every)
    (member,) = trained.fit.members
    assert member.status == "failed"
    assert member.reason == f"diverged: the objective is {objectives[-1]:g} at step {len(objectives)}"
    assert [row["epoch"] for row in trained.rows[0]] == [epoch for epoch in (1, 2) if epoch % eval_every == 0]
    assert all(math.isfinite(value) for row in trained.rows[0] for value in row.values())


def test_divergence_may_show_in_validation_alone(train: Any, network: Any, task: Any) -> None:
    """Where the last objectives are finite and the validation loss is not, that is what is told."""
    data = task("regression")
    far = dataclasses.replace(data, val=dataclasses.replace(data.val, x=data.val.x.double() * 1e200))
    (member,) = train([network("plain", 5, 1)], [far]).fit.members
    assert (member.status, member.reason) == ("failed", "diverged: the validation loss is inf after step 5")


@pytest.fixture
def overfitting(train: Any, network: Any, task: Any) -> Any:
    """A large network on few rows: the validation loss falls, then rises."""

    def overfitting(**changes: Any) -> Any:
        torch.manual_seed(1)
        return train([network("plain", 5, 1, hidden=20)], [task("regression", sizes=(12, 40, 7))], epochs=40, **changes)

    return overfitting


def test_early_stopping_waits_as_told(overfitting: Any) -> None:
    """It stops after `early_stopping` evaluations without a new best, and says so."""
    whole = [row["val/loss"] for row in overfitting().rows[0]]
    for patience in (1, 3, 5):
        trained = overfitting(early_stopping=patience)
        losses, best = whole, 0
        for at, loss in enumerate(losses):
            best = at if loss < losses[best] or at == 0 else best
            if at - best == patience:
                break
        else:
            pytest.fail("this run never stops early")
        (member,) = trained.fit.members
        assert [row["val/loss"] for row in trained.rows[0]] == whole[: at + 1]
        assert (member.status, member.reason) == ("finished", f"early stopping at epoch {at + 1}")
        assert member.best_row == trained.rows[0][best]
        assert member.last_row == trained.rows[0][at]


@pytest.mark.parametrize("early_stopping", [None, 4])
@pytest.mark.parametrize("select", ["last", "best"])
def test_select_takes_the_last_or_the_best(overfitting: Any, select: Any, early_stopping: Any) -> None:
    """The selected network has the validation loss of the last row, or of the lowest one."""
    trained = overfitting(select=select, early_stopping=early_stopping)
    losses = [row["val/loss"] for row in trained.rows[0]]
    assert min(losses) < losses[-1]
    trained.fit.select()
    (measured,) = trained.fit.evaluation.scores(trained.fit.evaluation.val, "val")
    assert measured["val/loss"] == pytest.approx(min(losses) if select == "best" else losses[-1], rel=1e-12)


def test_scores_do_not_depend_on_the_evaluation_chunks(
    train: Any, network: Any, task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A split larger than one chunk is measured whole."""
    trained = train([network("pnet", 5, 3), network("pnet", 5, 3)], [task("multiclass"), task("multiclass", seed=1)])
    whole = trained.fit.evaluation.scores(trained.fit.evaluation.val, "val")
    monkeypatch.setattr("psilon_bench.training.evaluation.ROWS_AT_ONCE", 4)
    parts = trained.fit.evaluation.scores(trained.fit.evaluation.val, "val")
    for one, other in zip(whole, parts, strict=True):
        assert one == pytest.approx(other, rel=1e-12)
