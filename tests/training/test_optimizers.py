"""Optimizers: what torch has trains alone, and in a sweep as alone, or is refused in one line before the run."""

import inspect
import io
from functools import partial
from typing import Any

import pytest
import torch
from rich.console import Console
from tiny import TINY

from psilon_bench.config.options import options
from psilon_bench.config.schema import ComponentSection, ModelSection, OptimizerSection
from psilon_bench.errors import UsageError
from psilon_bench.run import run as runner
from psilon_bench.run.checks import prepare
from psilon_bench.run.display import Display
from psilon_bench.sweep.placement import place_here
from psilon_bench.sweep.sweep import run_sweep
from psilon_bench.training.engines import build_engine
from psilon_bench.training.optimizer import is_elementwise

CPU = torch.device("cpu")
FOUND = [
    found
    for found in vars(torch.optim).values()
    if inspect.isclass(found) and issubclass(found, torch.optim.Optimizer) and found is not torch.optim.Optimizer
]
REFUSED = {
    "LBFGS": r"own \(LBFGS\) evaluates the objective itself, several times a step, .*; take optimizer=adam, ",
    "SparseAdam": r"own refuses its values: SparseAdam does not support dense gradients, ",
    "Muon": r"own refuses its values: Muon only supports 2D ",
}
ALONE = {"Adafactor"}
USUAL = {"Adam", "SGD", "ASGD", "NAdam"}  # moments, none, averages, and products of numbers that change with the step


class Clipped(torch.optim.SGD):
    """Clips all gradients together by their norm."""

    def step(self, closure: Any = None) -> Any:
        torch.nn.utils.clip_grad_norm_(self.param_groups[0]["params"], 1.0)
        return super().step(closure)


class Careful(torch.optim.SGD):
    """Takes no step where a gradient is not finite."""

    def step(self, closure: Any = None) -> Any:
        finite = all(parameter.grad.isfinite().all() for parameter in self.param_groups[0]["params"])
        return super().step(closure) if finite else None


class Noisy(torch.optim.SGD):
    """Adds noise to each step."""

    def step(self, closure: Any = None) -> Any:
        loss = super().step(closure)
        for parameter in self.param_groups[0]["params"]:
            parameter.add_(1e-6 * torch.randn_like(parameter))
        return loss


OURS = [Clipped, Careful, Noisy]


@pytest.fixture
def runs(config: Any) -> Any:
    """runs(torch.optim.ASGD): three runs that differ in seed and lambda, with an optimizer's defaults."""

    def runs(kind: Any, *overrides: Any, **values: Any) -> Any:
        common = config(*TINY, "scheduler=constant", "dataset=wine", "hardware.plan=stacked", *overrides)
        name = f"{kind.__module__ if kind in OURS else 'torch.optim'}.{kind.__name__}"
        own = OptimizerSection.model_validate({"name": "own", "_target_": name, "lr": 0.01, **values})
        return [
            common.model_copy(
                update={"seed": seed, "optimizer": own, "reg": common.reg.model_copy(update={"lam": 10.0**-seed})}
            )
            for seed in (2, 3, 4)
        ]

    return runs


def same(group: Any, others: Any) -> None:
    """A sweep of the group gives the metrics of the others, trained one by one."""
    outcomes = run_sweep(group, None, None)
    for one in others:
        (alone,) = runner.run([one], Display(Console(file=io.StringIO())))
        member = next(run for run in outcomes.values() if run["fingerprint"] == one.fingerprint())
        for score in ("val/loss", "test/loss", "path_norm"):
            assert member["metrics"][score] == pytest.approx(alone.run["metrics"][score], rel=1e-9)


@pytest.mark.sampled(every=3)
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[] if kind.__name__ in ALONE | USUAL | REFUSED.keys() else pytest.mark.slow)
        for kind in FOUND
    ],
    ids=lambda kind: kind.__name__,
)
def test_every_optimizer_of_torch_trains_in_a_sweep_as_alone(runs: Any, kind: Any) -> None:
    """With its defaults, in a stack where it is elementwise; what cannot train is refused."""
    group = runs(kind, "results_dir=together")
    if kind.__name__ in REFUSED:
        with pytest.raises(UsageError, match=REFUSED[kind.__name__]) as caught:
            prepare(group[0])
        assert "\n" not in str(caught.value)
        return
    assert place_here(group).size == (1 if kind.__name__ in ALONE else 3)
    same(group, runs(kind, "results_dir=alone"))


@pytest.mark.parametrize("kind", OURS)
def test_what_mixes_networks_trains_one_by_one(runs: Any, kind: Any) -> None:
    """Clipping by a norm, a condition on all gradients, random numbers: a sweep gives what lone runs give."""
    group = runs(kind, "results_dir=together")
    assert place_here(group).size == 1
    same(group, runs(kind, "results_dir=alone"))
    with pytest.raises(ValueError, match=r"optimizer=own mixes networks that share a tensor: train them one by one"):
        build_engine([prepare(one) for one in group])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"foreach": True}, True),
        ({"foreach": False, "amsgrad": True, "maximize": True, "weight_decay": 0.1}, True),
        ({"fused": True}, True),
        ({"capturable": True, "foreach": False}, False),  # refuses every step on a CPU
    ],
)
def test_options_are_tried_as_they_are(values: Any, expected: Any) -> None:
    """Adam's, on scalars, vectors and convolutions."""
    assert is_elementwise(partial(torch.optim.Adam, lr=0.01, **values), (0, 1, 4), CPU) == expected


@pytest.mark.parametrize("dims", [(1,), (2,), (1, 2)])
def test_one_coupled_parameter_is_enough(dims: Any) -> None:
    """Adafactor takes means over vectors and matrices; Muon orthogonalises matrices, and takes none of three axes."""
    assert not is_elementwise(partial(torch.optim.Adafactor, lr=0.01), dims, CPU)
    assert not is_elementwise(partial(torch.optim.Muon, lr=0.01), dims, CPU)


def test_muon_trains_matrices(runs: Any) -> None:
    """A network without biases, alone."""
    (one, *_) = runs(torch.optim.Muon, "reg=none")
    linear = {"name": "linear", "_target_": "torch.nn.Linear", "in_features": 13, "out_features": 3, "bias": False}
    prepare(one.model_copy(update={"model": ModelSection.model_validate(linear)}))


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (
            {"_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau"},
            r"own refuses its values: ReduceLROnPlateau\.step\(\) missing .* argument: 'metrics'\.",
        ),
        (
            {"_target_": "torch.optim.lr_scheduler.OneCycleLR", "max_lr": 0.1, "total_steps": 1},
            r"scheduler\.total_steps=1 is less than the run's 2 epochs\. Set scheduler\.total_steps=2\.",
        ),
    ],
)
def test_schedules_that_cannot_last_are_refused(runs: Any, schedule: Any, message: Any) -> None:
    """Before the run, not at the step at which they fail."""
    (one, *_) = runs(torch.optim.Adam)
    section = ComponentSection.model_validate({"name": "own", **schedule})
    with pytest.raises(UsageError, match=message):
        prepare(one.model_copy(update={"scheduler": section}))


def test_all_optimizers_of_conf_are_elementwise(config: Any) -> None:
    """Networks train in stacks under every option of conf/optimizer."""
    for name in options("optimizer"):
        section = config(f"optimizer={name}").optimizer
        assert is_elementwise(partial(section.build, lr=section.lr), (1, 2, 4), CPU)
