"""A stack of networks: each member is the network it would be alone."""

import copy
import inspect
import math
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from made_images import write_mnist

from psilon_bench.config.components import locate
from psilon_bench.config.options import options
from psilon_bench.regularizers.lp_norm import LpNorm
from psilon_bench.regularizers.path_norm import PathNorm
from psilon_bench.run.checks import fits, prepare
from psilon_bench.training.engine import Row
from psilon_bench.training.engines import build_trainer
from psilon_bench.training.stack import Shared, Stack

GRID = [("seed=0", "reg.lam=0.0"), ("seed=3", "reg.lam=1e-4"), ("seed=1", "reg.lam=0.05", "dataset.split_seed=7")]
RUN = ("tracking=none", "trainer.epochs=4", "trainer.eval_every=2", "trainer.num_batches=4")
TWO = ("trainer.epochs=2", "trainer.eval_every=1")  # eight steps, and an evaluation after each half
REGULARIZERS = options("reg")
# baselines take no steps, so there is nothing to stack: tests/models/test_baselines.py compares them with scikit-learn
MODELS = {name: section for name, section in options("model").items() if not section.is_baseline}
TASKS = {"none": "breast_cancer", "pathnorm": "diabetes"}  # wine for the others: each kind of task is met
OPTIMIZERS = {"pathprox": "sgd"}  # adam for the others
SMALL = {"hidden": 6, "depth": 2, "blocks": [[2, 3], [4]], "channels": [2, 3], "per_stage": 1}


def small(model: Any) -> Any:
    """Those of SMALL that are arguments of the model."""
    return {key: value for key, value in SMALL.items() if key in MODELS[model].arguments}


def fitting(model: Any) -> Any:
    """The regularizers that fit a model."""
    section = type(MODELS[model]).model_validate(MODELS[model].model_dump(by_alias=True) | small(model))
    network = section.build(num_features=3, num_outputs=2, input_shape=(3, 8, 8))
    return [reg for reg, regularizer in REGULARIZERS.items() if fits(regularizer, network)]


FITTING = [(model, reg) for model in MODELS for reg in fitting(model)]


def covering() -> set[tuple[str, str]]:
    """Pairs in which each model comes, and each regularizer: for a model the regularizer that came least."""
    pairs: set[tuple[str, str]] = set()
    came: Counter[str] = Counter()
    for model in MODELS:
        reg = min((reg for own, reg in FITTING if own == model), key=lambda reg: came[reg])
        came[reg] += 1
        pairs.add((model, reg))
    return pairs | {next(pair for pair in FITTING if pair[1] == reg) for reg in REGULARIZERS if not came[reg]}


COVERING = covering()


def trained(*runs: Any) -> Any:
    """The rows of each configuration in one stack, its selected network, and what is measured of it."""
    fit = build_trainer([prepare(run) for run in runs])
    rows: list[list[Row]] = [[] for _ in runs]
    fit.run(lambda member, row: rows[member].append(row))
    fit.select()
    assert fit.evaluation.test is not None
    tests = fit.evaluation.scores(fit.evaluation.test, "test")
    return [(rows[i], fit.stack.state(i), tests[i], fit.members[i]) for i in range(len(runs))]


def same(one: Any, other: Any) -> None:
    """Two accounts of a member agree to rounding."""
    for own, row in zip(one[0], other[0], strict=True):
        assert own == pytest.approx(row, rel=1e-11, abs=1e-12)
    for name, value in one[1].items():
        torch.testing.assert_close(value, other[1][name], rtol=1e-11, atol=1e-12)
    assert one[2] == pytest.approx(other[2], rel=1e-11, abs=1e-12)
    assert (one[3].status, one[3].reason) == (other[3].status, other[3].reason)


def test_every_component_is_in_the_grid() -> None:
    """No model and no regularizer is left out of the comparison below."""
    assert {model for model, _ in COVERING} == MODELS.keys()
    assert {reg for _, reg in COVERING} == REGULARIZERS.keys()


@pytest.mark.sampled(every=3)
@pytest.mark.parametrize(
    ("model", "reg"), [pytest.param(*own, marks=[] if own in COVERING else pytest.mark.slow) for own in FITTING]
)
def test_a_member_is_the_lone_run(config: Any, tmp_path: Path, model: Any, reg: Any) -> None:
    """Three members that differ in seed, lambda and split have the history and the weights of three runs alone.

    Images are augmented, and what they are padded with is black by the member's own split.
    """
    size = [f"model.{key}={value}" for key, value in small(model).items()]
    table = (f"dataset={TASKS.get(reg, 'wine')}", "dataset.max_rows=67")
    images = "input_shape" in inspect.signature(locate(MODELS[model].target)).parameters
    data = (*write_mnist(tmp_path, side=6, sizes=(67, 20)), "dataset.augment=true") if images else table
    common = (f"model={model}", f"reg={reg}", f"optimizer={OPTIMIZERS.get(reg, 'adam')}", *data, *RUN, *TWO, *size)
    runs = [config(*common, *own) for own in GRID]
    together = trained(*runs)
    for run, member in zip(runs, together, strict=True):
        same(member, trained(run)[0])
    assert len({repr(member[0]) for member in together}) == len(runs)


STEPS, SCHEDULES = list(options("optimizer")), list(options("scheduler"))
FEWER = min(len(STEPS), len(SCHEDULES))


@pytest.mark.parametrize(
    ("optimizer", "scheduler"),
    [  # each of both comes in a pair that is not slow
        pytest.param(optimizer, scheduler, marks=pytest.mark.slow if (i - j) % FEWER else [])
        for i, optimizer in enumerate(STEPS)
        for j, scheduler in enumerate(SCHEDULES)
    ],
)
def test_a_member_is_the_lone_run_under_every_optimizer_and_schedule(
    config: Any, optimizer: Any, scheduler: Any
) -> None:
    """No optimizer and no schedule of conf/ mixes the members."""
    common = (f"optimizer={optimizer}", f"scheduler={scheduler}", "model.hidden=5", "dataset.max_rows=61", *RUN)
    runs = [config(*common, *own) for own in GRID]
    for run, member in zip(runs, trained(*runs), strict=True):
        same(member, trained(run)[0])


def test_a_member_that_diverges_leaves_the_others_alone(train: Any, network: Any, task: Any) -> None:
    """The second of three fails as it would alone; the others go on to the last digit as without it."""
    models = [network("snet", 5, 1) for _ in range(3)]
    with torch.no_grad():
        models[1].layers[0].g.mul_(1e9)
    tasks, lams = [task("regression", seed=i) for i in range(3)], [0.01, 1e200, 0.02]

    def run(chosen: Any, order: Any) -> Any:
        sgd = partial(torch.optim.SGD, lr=0.01)
        return train(
            copy.deepcopy(chosen), order, LpNorm(p=2.0, scale=1.0), [lams[models.index(m)] for m in chosen], sgd
        )

    together = run(models, tasks)
    assert [member.status for member in together.fit.members] == ["finished", "failed", "finished"]
    assert not together.rows[1]
    alone = run(models[1:2], tasks[1:2])
    first, own = alone.fit.members[0].reason, together.fit.members[1].reason
    assert own.startswith("diverged: the objective is")
    assert own.rpartition(" ")[2] == first.rpartition(" ")[2]
    calm = copy.deepcopy(models)
    with torch.no_grad():
        calm[1].layers[0].g.mul_(1e-9)
    without = train(calm, tasks, LpNorm(p=2.0, scale=1.0), [0.01, 0.0, 0.02], partial(torch.optim.SGD, lr=0.01))
    for member in (0, 2):
        assert together.rows[member] == without.rows[member]
        for name, value in together.fit.stack.state(member).items():
            assert torch.equal(value, without.fit.stack.state(member)[name])
            assert value.isfinite().all()


def test_early_stopping_is_each_members_own(train: Any, network: Any, task: Any) -> None:
    """Members stop at different epochs, each as alone, and keep the weights of that moment while others train on."""
    models = [network("plain", 5, 1, hidden=15) for _ in range(4)]
    tasks = [task("regression", seed=i, sizes=(12, 40, 7)) for i in range(4)]
    lams, together = [0.0, 1e-3, 1e-2, 0.1], {}
    for select in ("last", "best"):
        run = partial(train, regularizer=PathNorm("improved"), epochs=25, early_stopping=2, select=select)
        together = run(copy.deepcopy(models), tasks, lams=lams)
        together.fit.select()
        assert len({len(rows) for rows in together.rows}) > 2
        measured = together.fit.evaluation.scores(together.fit.evaluation.val, "val")
        for own, rows, member in zip(measured, together.rows, together.fit.members, strict=True):
            losses = [row["val/loss"] for row in rows]
            assert own["val/loss"] == pytest.approx(min(losses) if select == "best" else losses[-1], rel=1e-12)
            assert member.best_row == rows[losses.index(min(losses))]


def test_map_calls_for_each_member(network: Any) -> None:
    """map(f, per member, shared) is f of each network on its own slice, stacked; a stack of one as well."""
    models = [network("pnet", 5, 2) for _ in range(3)]
    own, shared = torch.randn(3, 4, 5).double(), torch.randn(5).double()

    def function(model: Any, x: Any, offset: Any) -> Any:
        return {"out": model(x + offset), "norm": model.path_norm()}

    expected = [function(model, x, shared) for model, x in zip(models, own, strict=True)]
    for members in ([0, 1, 2], [1]):
        stack = Stack([copy.deepcopy(models[i]) for i in members])
        result = stack.map(function, own[members], shared, in_dims=(0, None))
        for name in ("out", "norm"):
            torch.testing.assert_close(result[name], torch.stack([expected[i][name] for i in members]))


def test_map_calls_with_what_a_group_shares(network: Any) -> None:
    """Two groups of three neighbours, a tensor for each group, one for each member, one for all."""
    models = [network("snet", 5, 2) for _ in range(6)]
    shared, own, common = torch.randn(2, 4, 5).double(), torch.randn(6, 2).double(), torch.randn(5).double()

    def function(model: Any, x: Any, add: Any, offset: Any) -> Any:
        return {"out": model(x + offset) + add}

    expected = [function(models[i], shared[i // 3], own[i], common)["out"] for i in range(6)]
    result = Stack(models).map(function, shared, own, common, in_dims=(Shared(2), 0, None))
    torch.testing.assert_close(result["out"], torch.stack(expected))


@pytest.mark.parametrize("size", [1, 3])
def test_state_and_copies_are_of_one_member(network: Any, size: Any) -> None:
    """state(i) loads into a fresh network of the same kind; copies touch the members they are told."""
    models = [network("pnet", 5, 2) for _ in range(size)]
    stack, x = Stack([copy.deepcopy(model) for model in models]), torch.randn(4, 5).double()
    for member, model in enumerate(models):
        fresh = network("pnet", 5, 2)
        fresh.load_state_dict(stack.state(member))
        assert torch.equal(fresh(x), model(x))
    before, target = stack.snapshot(), {name: torch.zeros_like(v) for name, v in stack.parameters.items()}
    stack.copy_members(stack.parameters, target, [size - 1])
    for member in range(size):
        for name, value in stack.state(member, target).items():
            assert torch.equal(value, models[member].state_dict()[name] * (member == size - 1))
    with torch.no_grad():
        next(iter(stack.parameters.values())).zero_()
    name = next(iter(before))
    assert before[name].any(), "a snapshot is a copy"
    assert math.prod(before[name].shape)
