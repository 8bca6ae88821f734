"""Diagonal linear networks: descent by hand, basis pursuit, invariants of the flow, stacks, stopping."""

import math
from typing import Any

import numpy as np
import pytest
import reference
import torch

from psilon_bench.errors import UsageError
from psilon_bench.models.diagonal_linear import DiagonalLinear
from psilon_bench.run.checks import prepare
from psilon_bench.training.engine import Row
from psilon_bench.training.engines import build_trainer

RUN = (
    "dataset=sparse_recovery",
    "model=diagonal_linear",
    "reg=none",
    "optimizer=sgd",
    "scheduler=constant",
    "trainer.num_batches=1",
    "tracking=none",
)
SMALL = ("dataset.num_measurements=8", "dataset.num_features=12", "dataset.num_nonzero=2")


@pytest.fixture
def fitted(config: Any) -> Any:
    """fitted([overrides of a member, ...], common, ...): the Trainer after its run, and the rows of each member."""

    def fitted(members: Any, *common: Any) -> Any:
        fit = build_trainer([prepare(config(*RUN, *common, *own)) for own in members])
        rows: list[list[Row]] = [[] for _ in members]
        fit.run(lambda member, row: rows[member].append(row))
        return fit, rows

    return fitted


def vector(fit: Any, member: Any = 0) -> Any:
    """x of a member."""
    return fit.stack.map(lambda model: model.vectors()[0])[member].detach().numpy()


def data(fit: Any) -> Any:
    """A and b of a lone run."""
    x, y, _ = fit.batches.whole
    return x.numpy(), y[:, 0].numpy()


@pytest.mark.parametrize(
    ("power", "signed", "ratio"),
    [(2, False, None), (2, True, 0.2), (3, True, 1.0), (4, False, 3.0), (3, False, 0.2), (2, True, None)],
)
def test_it_descends_as_by_hand(fitted: Any, power: Any, signed: Any, ratio: Any) -> None:
    """x after 60 steps on 1/2 ||A x - b||^2, not its mean, with lr x ratio for the lengths."""
    alpha = 0.6 if power < 4 else 0.9
    model = f"model.power={power} model.signed={signed} model.alpha={alpha} model.normalization="
    model += "null" if ratio is None else f"2 model.ratio={ratio}"
    run = ("optimizer.lr=0.02", "trainer.epochs=60", "trainer.eval_every=60")
    fit, ((row,),) = fitted([()], *SMALL, "dataset.entries=signs", *run, *model.split())
    a, b = data(fit)
    x = reference.descend(a, b, alpha, power, signed, ratio, 0.02, 60)
    assert np.abs(x - (0 if signed else alpha**power)).max() > 0.05
    np.testing.assert_allclose(vector(fit), x, rtol=1e-10, atol=1e-13)
    planted = fit.evaluation.test.y[:, 0].numpy()
    assert row["val/error"] == pytest.approx(np.linalg.norm(x - planted) / np.linalg.norm(planted))
    assert row["val/loss"] == pytest.approx(np.square(x - planted).sum() / 2)
    assert row["norm1"] == pytest.approx(np.abs(x).sum())


NORMALIZED = ("model.normalization=2", "model.ratio=0.05")


@pytest.mark.slow
@pytest.mark.unchecked_shapes
@pytest.mark.parametrize("signed", [pytest.param(False, marks=pytest.mark.slow), True])
def test_both_find_basis_pursuits_vector(fitted: Any, signed: Any) -> None:
    """Gradient descent from a small alpha, weight normalisation from a large one: within 1e-3 where recovery holds.

    From the same large alpha, the error of gradient descent is more than 1e3 times that of weight normalisation.
    """
    sizes = (
        "dataset.num_measurements=12",
        "dataset.num_features=16",
        "dataset.num_nonzero=2",
        f"model.signed={signed}",
    )
    entries = "dataset.entries=signs" if signed else "dataset.entries=ones"
    run = ("optimizer.lr=0.1", "trainer.epochs=1500", "trainer.eval_every=1500", entries)
    fit, rows = fitted([("model.alpha=1e-6",), ("model.alpha=0.1",)], *sizes, *run)
    x, y = (values.numpy() for values in fit.batches.whole[:2])
    pursued = reference.basis_pursuit(x, y[:, 0])
    np.testing.assert_allclose(pursued, fit.evaluation.test.y[:, 0].numpy(), atol=1e-6)
    assert np.linalg.norm(vector(fit) - pursued) < 1e-3 * np.linalg.norm(pursued)
    normalized, ((row,), _) = fitted([("model.alpha=0.1",), ("model.alpha=0.01",)], *sizes, *run, *NORMALIZED)
    for member in (0, 1):
        assert np.linalg.norm(vector(normalized, member) - pursued) < 1e-3 * np.linalg.norm(pursued)
    assert row["val/support"] == 1
    assert rows[1][0]["val/error"] / row["val/error"] > 1e3


@pytest.mark.sampled(every=3)
@pytest.mark.unchecked_shapes
@pytest.mark.parametrize(
    ("power", "normalization", "signed"), [(2, "null", True), (2, 2, False), (3, "null", False), (3, 2, True)]
)
def test_the_invariant_of_the_flow(fitted: Any, power: Any, normalization: Any, signed: Any) -> None:
    """It goes to 0 with the step at equal time, linearly; on another path to the same x it is not 0."""
    model = (
        f"model.power={power}",
        f"model.normalization={normalization}",
        f"model.signed={signed}",
        "model.alpha=0.5",
    )
    drifts = []
    for lr in (8e-3, 4e-3):
        run = (f"optimizer.lr={lr}", f"trainer.epochs={round(1.2 / lr)}", f"trainer.eval_every={round(1.2 / lr)}")
        drifts.append(fitted([()], *SMALL, "model.ratio=0.3", *run, *model)[1][0][-1]["invariant"])
    assert drifts[0] < 0.05
    assert drifts[0] / drifts[1] == pytest.approx(2, rel=0.2)
    adam = ("optimizer=adam", "optimizer.lr=1e-2", "trainer.epochs=50", "trainer.eval_every=50")
    assert fitted([()], *SMALL, "model.ratio=0.3", *adam, *model)[1][0][-1]["invariant"] > 0.1


def test_without_a_kernel_there_is_no_invariant() -> None:
    """With as many rows as columns, or unknown rows, it is not offered."""
    model: dict[str, Any] = {
        "num_features": 3,
        "num_outputs": 2,
        "alpha": 0.5,
        "power": 2,
        "signed": True,
        "normalization": None,
    }
    assert DiagonalLinear(**model, ratio=1.0).measures().keys() == {"norm1"}
    assert DiagonalLinear(**model, ratio=1.0, rows=torch.ones(3, 3)).measures().keys() == {"norm1"}
    with_rows = DiagonalLinear(**model, ratio=1.0, rows=torch.randn(2, 3))
    assert with_rows.measures().keys() == {"norm1", "invariant"}
    assert with_rows.state_dict().keys() == {"u", "alpha", "ratio"}
    assert with_rows(torch.randn(5, 3).double()).shape == (5, 2)


GRID = [
    (f"model.alpha={a}", f"model.ratio={r}", f"seed={s}")
    for s, a, r in [(0, 0.5, 1.0), (0, 0.1, 0.2), (3, 0.3, 5.0), (3, 0.4, 0.1)]
]


@pytest.mark.parametrize(("normalization", "order"), [("null", [0, 1, 2, 3]), (2, [0, 2, 1, 3])])
def test_members_may_differ_in_alpha_ratio_and_seed(fitted: Any, config: Any, order: Any, normalization: Any) -> None:
    """Each as alone, in groups that share A and in no order."""
    run = (
        *SMALL,
        "optimizer.lr=0.02",
        "trainer.epochs=40",
        "trainer.eval_every=20",
        f"model.normalization={normalization}",
    )
    members = [GRID[i] for i in order]
    assert len({config(*RUN, *run, *own).structure() for own in members}) == 1
    together, rows = fitted(members, *run)
    for index, own in enumerate(members):
        alone, (history,) = fitted([own], *run)
        for one, other in zip(rows[index], history, strict=True):
            assert one == pytest.approx(other, rel=1e-11, abs=1e-13)
        for name, value in alone.stack.state(0).items():
            torch.testing.assert_close(together.stack.state(index)[name], value, rtol=1e-11, atol=1e-13)


@pytest.mark.unchecked_shapes
def test_each_stops_at_the_loss_it_is_told(fitted: Any) -> None:
    """At the first evaluation whose last loss is no larger, with the vector of that moment; one never gets there."""
    members = [("model.alpha=0.5",), ("model.alpha=0.05",), ("model.alpha=1e-9",)]
    run = (*SMALL, "optimizer.lr=0.05", "trainer.epochs=200", "trainer.eval_every=10")
    whole = [fitted([own], *run)[1][0] for own in members]
    fit, rows = fitted(members, *run, "trainer.target_loss=2e-2")
    fit.select()
    ends = [len(own) for own in rows]
    assert len(set(ends)) == 3
    assert ends[2] == 20
    for index, (own, member) in enumerate(zip(rows, fit.members, strict=True)):
        a, b = (values[0].numpy() if values.dim() == 3 else values.numpy() for values in fit.batches.whole[:2])
        steps = [own[-1]["step"], own[-2]["step"]]
        alpha = float(members[index][0].partition("=")[2])
        losses = [
            np.square(a @ reference.descend(a, b[:, 0], alpha, 2, False, None, 0.05, s - 1) - b[:, 0]).sum() / 2
            for s in steps
        ]
        assert member.last_row == own[-1]
        assert own[-1] == pytest.approx(whole[index][len(own) - 1], rel=1e-9)
        assert np.abs(vector(fit, index)).sum() == pytest.approx(own[-1]["norm1"], rel=1e-12)
        if index < 2:
            assert losses[0] <= 2e-2 < losses[1]
            assert member.reason == f"the loss is {losses[0]:.3g} at step {steps[0]}"
        else:
            assert member.reason is None


def test_a_step_that_is_too_long_is_recorded_with_its_number(fitted: Any) -> None:
    """The member fails at the step at which the loss by hand is no number any more; the other goes on."""
    run = (*SMALL, "optimizer.lr=0.4", "trainer.epochs=40", "trainer.eval_every=20", "model.power=3")
    fit, _ = fitted([("model.alpha=1e-3",), ("model.alpha=1.5",)], *run)
    calm, wild = fit.members
    assert calm.status == "finished"
    assert wild.status == "failed"
    step = int(wild.reason.rpartition(" ")[2])
    a, b = (values.numpy() for values in fit.batches.whole[:2])
    with np.errstate(all="ignore"):
        losses = [
            np.square(a @ reference.descend(a, b[:, 0], 1.5, 3, False, None, 0.4, s) - b[:, 0]).sum()
            for s in (step - 2, step - 1)
        ]
    assert math.isfinite(losses[0])
    assert not math.isfinite(losses[1])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.alpha=0", r"model\.alpha=0 is not valid: it should be greater than 0"),
        ("model.alpha=-0.1", r"model\.alpha=-0\.1 is not valid: it should be greater than 0"),
        ("model.ratio=0", r"model\.ratio=0 is not valid: it should be greater than 0"),
        ("model.power=1", r"model\.power=1 is not valid: it should be greater than or equal to 2"),
        ("model.normalization=1", r"model\.normalization=1 is not valid: it should be 2"),
        ("trainer.target_loss=0", r"trainer\.target_loss=0 is not valid: it should be greater than 0"),
        ("dataset.noise=-1", r"dataset\.noise=-1 is not valid: it should be greater than or equal to 0"),
    ],
)
def test_bad_values_are_told_in_a_line(config: Any, override: Any, message: Any) -> None:
    """Rule and value."""
    with pytest.raises(UsageError, match=message):
        config(*RUN, override)
