"""Theorems of temperature scaling: the loss of its rows never rises, no class changes, and it is its own limit."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from psilon_bench.metrics.prediction import accuracy, loss
from psilon_bench.metrics.temperature import fit_temperature


def drawn(classes: int, rows: int, seed: int, scale: float) -> Any:
    """Kind, logits and targets that the logits know something of."""
    made = torch.Generator().manual_seed(seed)
    z = torch.randn(rows, max(2, classes), dtype=torch.float64, generator=made)
    y = (z + torch.randn(z.shape, dtype=torch.float64, generator=made)).argmax(dim=1)
    if classes == 2:
        return "binary", scale * (z[:, 1:] - z[:, :1]), y[:, None].double()
    return "multiclass", scale * z, y


@settings(deadline=None, max_examples=40)
@given(st.sampled_from([2, 3, 5]), st.integers(1, 60), st.integers(0, 10**6), st.floats(1e-2, 1e2))
def test_no_loss_rises_and_no_class_changes(classes: int, rows: int, seed: int, scale: float) -> None:
    """Whatever the rows and the size of the logits."""
    kind, logits, y = drawn(classes, rows, seed, scale)
    temperature = fit_temperature(kind, logits, y)
    assert temperature > 0
    assert loss(kind, logits / temperature, y) <= loss(kind, logits, y)
    assert accuracy(kind, logits / temperature, y) == accuracy(kind, logits, y)


@pytest.mark.parametrize("scale", [0.2, 1.0, 8.0])
@pytest.mark.parametrize("classes", [2, 4])
def test_it_is_the_minimum(classes: int, scale: float) -> None:
    """No temperature of a fine grid is better; to what it made it fits 1; of larger logits it is larger by as much."""
    kind, logits, y = drawn(classes, 50, 3, scale)
    temperature = fit_temperature(kind, logits, y)
    grid = [math.exp(t) for t in torch.linspace(-6, 6, 2001).tolist()]
    assert loss(kind, logits / temperature, y) <= min(loss(kind, logits / t, y) for t in grid) + 1e-12
    assert fit_temperature(kind, logits / temperature, y) == pytest.approx(1, abs=1e-5)
    assert fit_temperature(kind, 3 * logits, y) == pytest.approx(3 * temperature, rel=1e-5)


def test_where_there_is_no_minimum() -> None:
    """All rows right: the loss falls for ever as T goes to 0, so T stays 1; all wrong: T is as large as it may be."""
    logits, y = torch.tensor([[2.0], [-1.0]]).double(), torch.tensor([[1.0], [0.0]]).double()
    assert fit_temperature("binary", logits, y) == 1
    assert fit_temperature("binary", -logits, y) == pytest.approx(1e3, rel=1e-3)
