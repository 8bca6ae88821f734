"""What pruner=path promises holds for the networks as they are saved and evaluated, rounding included."""

import copy
from typing import Any

import numpy as np
import pytest
import torch

from psilon_bench.data.task import Task
from psilon_bench.metrics.exact_network import exact_network
from psilon_bench.models.path_change import largest_inputs
from psilon_bench.records.networks import load
from psilon_bench.run.checks import prepare
from psilon_bench.training.promise import evaluation_error, promise_of


@pytest.mark.parametrize("kind", ["pnet", "plain"])
def test_rounding_counts_both_evaluations(network: Any, task: Any, kind: str) -> None:
    """Where nothing goes, the promise is as large as what float32 makes of both networks at the training rows."""
    trained, own = network(kind, 5, 1).float(), task("regression")
    plain = trained.plain()
    promise = promise_of(0.0, trained, plain, own)
    errors = [
        evaluation_error(exact_network(one, "regression"), largest_inputs(own.train.x)) for one in (trained, plain)
    ]
    x = own.train.x.float()
    off = [(one(x) - copy.deepcopy(one).double()(x.double())).abs().max() for one in (trained, plain)]
    assert 0 < off[0] + off[1] <= promise["rounding"]
    assert promise["rounding"] > sum(errors) if kind == "pnet" else promise["rounding"] == sum(errors)


def changes_on(task: Task, before: Any, after: Any) -> tuple[np.ndarray, np.ndarray]:
    """How far the outputs of each test row move, as two networks are evaluated, and by what factor it is outside."""
    dtype = next(before.parameters()).dtype
    x = task.test.x.to(dtype)
    with torch.no_grad():
        moves = (before(x).double() - after(x).double()).abs().sum(dim=1)
    largest = task.train.x.abs().amax(dim=0)
    times = (task.test.x.abs() / torch.where(largest > 0, largest, 1)).amax(dim=1).clamp_min(1)
    return moves.numpy(), times.double().numpy()


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(
    ("model", "dataset"), [("pnet", "wine"), ("psilon_resnet", "diabetes"), ("snet", "breast_cancer"), ("mlp", "wine")]
)
def test_no_test_row_breaks_the_promise(finished: Any, config: Any, precision: str, model: str, dataset: str) -> None:
    """Of the trained and the pruned network as saved and evaluated; run.json says the bound and how the rows fare."""
    fewer = () if model in ("pnet", "psilon_resnet") else ("reg=l2",)
    run = (f"model={model}", f"dataset={dataset}", *fewer, "model.hidden=12", f"hardware.precision={precision}")
    record = finished(*run, "pruner=path", "pruner.max_change=0.5")
    promise, task = record.run["promise"], prepare(config(*run)).task
    moves, times = changes_on(task, *(load(record.folder, which).network for which in ("model", "pruned")))
    assert 0 < promise["change"] <= 0.5
    assert (moves <= (promise["change"] + promise["rounding"]) * times).all()
    assert promise["rounding"] < (0.01 if precision == "float32" else 1e-9)
    assert promise["test_rows_outside"] == (times > 1).sum()
    assert promise["farthest_test_row"] == pytest.approx(times.max())
    assert promise["test_change"] == pytest.approx((moves / times).max(), rel=1e-3, abs=1e-6)
    assert record.run["metrics"]["weight_sparsity"] > 0


def test_members_of_a_stack_have_their_own_promises(finished: Any, config: Any) -> None:
    """Three lambdas in one stack are pruned as in three runs alone."""
    from psilon_bench.training.engines import build_trainer

    run = ("model.hidden=8", "trainer.epochs=2", "pruner=path", "pruner.max_change=0.3", "tracking=none")
    members = [prepare(config(*run, f"reg.lam={lam}", f"seed={seed}")) for seed, lam in enumerate((1e-3, 0.1, 0.01))]
    found = []
    for some in (members, members[:1], members[1:2], members[2:]):
        trainer = build_trainer([copy.deepcopy(member) for member in some])
        trainer.run(lambda *_: None)
        found += [(outcome.details["promise"], outcome.tensors["pruned"]) for outcome in trainer.outcomes()]
    for (own, weights), (alone, others) in zip(found[:3], found[3:], strict=True):
        assert own == pytest.approx(alone, rel=1e-9, abs=1e-12)
        for name, value in weights.items():
            assert torch.equal(value == 0, others[name] == 0)
            torch.testing.assert_close(value, others[name], rtol=1e-12, atol=1e-12)
