"""torch's inside is as machine/torch_internals.py takes it to be."""

import inspect
import subprocess
import sys
import warnings
from typing import Any

import pytest
import torch
from torch import nn

from psilon_bench.machine.torch_internals import SHIELDED, NormLayer, lean, mark_stepped, trace_gradients, tree_map


@pytest.mark.slow
def test_a_lean_optimizer_imports_no_compiler() -> None:
    """Neither its making, nor its steps, nor its state; without `lean` they do."""
    code = (
        "import sys, torch\n"
        "from psilon_bench.machine.torch_internals import lean\n"
        "p = torch.nn.Parameter(torch.ones(2))\n"
        "make = lambda parameters: torch.optim.Adam(parameters, lr=0.1)\n"
        "p.grad = torch.ones(2)\n"
        "for optimizer in (lean(make, [p]), make([p])):\n"
        "    with torch.no_grad(): optimizer.step()\n"
        "    optimizer.load_state_dict(optimizer.state_dict())\n"
        "    print('torch._dynamo' in sys.modules)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["False", "True"]


def test_the_methods_are_wrapped() -> None:
    """Of those that are unwrapped, each has something to unwrap."""
    for name in SHIELDED:
        method = getattr(torch.optim.Optimizer, name)
        assert inspect.unwrap(method) is not method
    assert inspect.unwrap(torch.optim.Adam.step) is not torch.optim.Adam.step


def test_a_lean_step_is_the_usual_step() -> None:
    """Of every optimizer that torch's own wrapper only profiles."""
    weights = []
    for make in (lean, lambda make, parameters: make(parameters)):
        parameter = nn.Parameter(torch.tensor([1.0, -2.0]))
        optimizer = make(lambda parameters: torch.optim.AdamW(parameters, lr=0.1), [parameter])
        for _ in range(3):
            parameter.grad = parameter.detach() ** 2
            with torch.no_grad():
                optimizer.step()
        weights.append(parameter.detach().clone())
    assert torch.equal(*weights)


@pytest.mark.parametrize("marked", [True, False])
def test_a_schedule_that_goes_on_first_does_not_warn(marked: Any) -> None:
    """With the mark; without it torch warns."""
    optimizer = lean(lambda parameters: torch.optim.SGD(parameters, lr=0.1), [nn.Parameter(torch.ones(1))])
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    if marked:
        mark_stepped(optimizer)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        schedule.step()
    assert [str(one.message)[:34] for one in caught] == ([] if marked else ["Detected call of `lr_scheduler.step"[:34]])


def test_norm_layers() -> None:
    """All of them with running statistics, and no other layer."""
    layers = [nn.BatchNorm1d(2), nn.BatchNorm2d(2), nn.BatchNorm3d(2), nn.SyncBatchNorm(2), nn.InstanceNorm2d(2)]
    assert all(isinstance(layer, NormLayer) for layer in layers)
    assert not isinstance(nn.LayerNorm(2), NormLayer)


def test_containers() -> None:
    """Dictionaries and tuples, their leaves alone."""
    assert tree_map(lambda value: value + 1, {"a": (1, [2])}) == {"a": (2, [3])}


def test_the_compilers_switch() -> None:
    """It exists; a setting of an unknown name would raise."""
    trace_gradients()
    assert torch._dynamo.config.trace_autograd_ops
