"""Rows blended with their projections: the formula by autograd, whatever thresholds the search begins with."""

from typing import Any

import pytest
import torch
from projection import tau_by_sorting
from torch import Tensor
from torch.func import vmap

from psilon_bench.models.blended import blend
from psilon_bench.models.crelu_resnet import CReLULinear
from psilon_bench.models.linear import NormLinear

SETTINGS = [(a, strength, pairs) for a in (0.3, 1.0) for strength in (None, 1.3, 5.0) for pairs in (False, True)]


def by_formula(v: Tensor, a: float, strength: float | None, pairs: bool) -> Tensor:
    """(1 - a) v + a ||v||_1 sign(v) max(c u - tau, 0), tau that of projecting c u, of 1-norm `strength`."""
    sizes = torch.maximum(*v.abs().chunk(2, dim=1)) if pairs else v.abs()
    norms = sizes.sum(dim=1, keepdim=True)
    scale = torch.ones_like(norms) if strength is None else strength / norms
    tau = tau_by_sorting(scale * sizes)
    return (1 - a) * v + a * norms * v.sign() * (scale * v.abs() - tau).clamp_min(0)


def rows(seed: int = 0) -> Tensor:
    """60 of 12 entries, of sizes from 1e-2 to 1e2, some entries 0."""
    torch.manual_seed(seed)
    return torch.randn(60, 12).double() * 10 ** torch.linspace(-2, 2, 60).double()[:, None] * (torch.rand(60, 12) > 0.1)


@pytest.mark.parametrize(("a", "strength", "pairs"), SETTINGS)
def test_direction_and_gradient_are_those_of_the_formula(a: Any, strength: Any, pairs: Any) -> None:
    """From thresholds of 0, those of other rows, the right ones and far too large ones; norms and theirs as well."""
    v = rows().requires_grad_()
    plain, weights = by_formula(v, a, strength, pairs), torch.randn(60, 12).double()
    by_norms = torch.randn(60, 1).double()
    norms = (torch.maximum(*v.abs().chunk(2, dim=1)) if pairs else v.abs()).sum(dim=1, keepdim=True)
    (slope,) = torch.autograd.grad((plain * weights).sum() + (norms * by_norms).sum(), v)
    right = blend(v, torch.zeros(60, 1).double(), a, strength, pairs).tau
    for guess in (torch.zeros_like(right), right.flip(0), right, 1e9 + right, right.where(right > 1, torch.nan)):
        found = blend(v, guess, a, strength, pairs)
        torch.testing.assert_close(found.direction, plain)
        torch.testing.assert_close(found.norms, norms)
        torch.testing.assert_close(found.tau, right, rtol=0, atol=0)
        (own,) = torch.autograd.grad((found.direction * weights).sum() + (found.norms * by_norms).sum(), v)
        torch.testing.assert_close(own * (v != 0), slope * (v != 0))
        assert own.isfinite().all()


@pytest.mark.parametrize(("a", "strength", "pairs"), SETTINGS[::3])
def test_members_of_a_stack_are_blended_as_each_alone(a: Any, strength: Any, pairs: Any) -> None:
    """Under vmap, nested and with the members as another axis too, with the derivative."""
    v = torch.stack([rows(seed) for seed in range(4)]).requires_grad_()
    tau, weights = torch.rand(4, 60, 1).double(), torch.randn(4, 60, 12).double()

    def one(own: Tensor, guess: Tensor) -> Tensor:
        return blend(own, guess, a, strength, pairs).direction

    alone = torch.stack([one(*own) for own in zip(v, tau, strict=True)])
    together = vmap(one)(v, tau)
    nested = vmap(vmap(one))(v.unflatten(0, (2, 2)), tau.unflatten(0, (2, 2))).flatten(0, 1)
    last = vmap(one, in_dims=(2, 0))(v.movedim(0, 2), tau)
    slopes = [torch.autograd.grad((found * weights).sum(), v)[0] for found in (alone, together, nested, last)]
    for found, slope in zip((together, nested, last), slopes[1:], strict=True):
        torch.testing.assert_close(found, alone)
        torch.testing.assert_close(slope, slopes[0])


def test_rows_that_are_none() -> None:
    """NaN stays in its row, with no gradient elsewhere; a row of zeros stays 0 and has a finite gradient."""
    v = torch.tensor([[torch.nan, 1.0, 2.0], [0.0, 0.0, 0.0], [3.0, -1.0, 2.5]], requires_grad=True)
    for strength in (None, 1.5):
        found = blend(v, torch.zeros(3, 1), 0.5, strength, pairs=False)
        (slope,) = torch.autograd.grad(found.direction[1:].sum(), v)
        assert found.direction[0].isnan().all()
        assert not found.direction[1].any()
        assert slope[1:].isfinite().all()


@pytest.mark.parametrize("make", [lambda: NormLinear(9, 5, 1, True), lambda: CReLULinear(9, 5, 1, True, 1.0)])
def test_only_training_moves_where_the_search_begins(make: Any) -> None:
    """Scores in between leave a run bit for bit as it is; the thresholds are no part of what is saved."""
    layer = make()
    layer.blend, layer.strength = 0.5, 1.5
    layer.eval()(torch.randn(4, 9))
    assert not layer.tau.any()
    layer.train()(torch.randn(4, 9))
    assert layer.tau.any()
    assert "tau" not in layer.state_dict()
