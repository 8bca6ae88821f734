"""The shapes in annotations are checked: a wrong one is refused, alone and under vmap, in every module."""

import importlib
import inspect
import pkgutil
from typing import Any

import pytest
import torch
from checked_shapes import FOLDERS
from jaxtyping import TypeCheckError
from torch.func import vmap

from psilon_bench.metrics.sparsity import near_sparsity
from psilon_bench.models.linear import Linear
from psilon_bench.models.mlp import MLP
from psilon_bench.models.path_norm import path_norm
from psilon_bench.models.simplex import settled

WRONG = {
    "a vector for a matrix": lambda: near_sparsity(torch.rand(3)),
    "rows that do not agree": lambda: settled(torch.rand(4, 6), torch.rand(4, 1), torch.rand(5, 1)),
    "a missing axis": lambda: settled(torch.rand(4, 6), torch.rand(4), torch.rand(4, 1)),
    "integers": lambda: near_sparsity(torch.ones(2, 3, dtype=torch.int64)),
    "one of a list": lambda: path_norm([torch.rand(3, 2, 2)]),
    "under vmap": lambda: vmap(lambda weight: path_norm([weight]))(torch.rand(4, 3, 2, 2)),
    "of a method": lambda: Linear.of(torch.rand(3, 2), torch.rand(2)),
    "of a network": lambda: MLP(3, 2, 4, 1, None, False, "relu", "orthogonal")(torch.tensor(1.0)),
}


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_a_wrong_shape_is_refused(call: Any) -> None:
    """Every call has something that its annotations exclude."""
    with pytest.raises(TypeCheckError):
        call()


@pytest.mark.unchecked_shapes
def test_the_check_can_be_off() -> None:
    """Tests of many steps have it off, and all tests of other packages."""
    near_sparsity(torch.rand(3))


def test_right_shapes_are_taken_under_vmap() -> None:
    """A member of a stack has the shapes of one network."""
    weights = torch.rand(4, 3, 2)
    torch.testing.assert_close(vmap(lambda weight: path_norm([weight]))(weights), weights.sum(dim=(1, 2)))


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_function_of_these_packages_is_checked(folder: Any) -> None:
    """By discovery: jaxtyping's wrapper is around each."""
    package = importlib.import_module(f"psilon_bench.{folder}")
    for found in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{found.name}")
        own = [f for _, f in inspect.getmembers(module, inspect.isfunction) if f.__module__ == module.__name__]
        assert all(hasattr(function, "__wrapped__") for function in own), module
