"""The projection onto the simplex: on it, idempotent, nearest, monotone; the loop against sorting."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import vmap

from psilon_bench.models.simplex import project, threshold

ROWS = st.integers(1, 9).flatmap(
    lambda d: st.lists(st.lists(st.floats(0, 50), min_size=d, max_size=d), min_size=1, max_size=6)
)


def by_sorting(lengths: torch.Tensor) -> torch.Tensor:
    """Duchi et al. 2008, figure 1, one row at a time."""
    rows = []
    for u in lengths:
        down, total = sorted(u.tolist(), reverse=True), 0.0
        tau = 0.0
        for count, value in enumerate(down, start=1):
            total += value
            if value - (total - 1) / count > 0:
                tau = (total - 1) / count
        rows.append((u - tau).clamp_min(0))
    return torch.stack(rows)


@settings(deadline=None, max_examples=200)
@given(ROWS)
def test_it_is_that_of_sorting_and_on_the_simplex(rows: Any) -> None:
    """Entries >= 0 with sum 1, the same as by sorting; projecting again changes nothing; a shift changes nothing."""
    lengths = torch.tensor(rows, dtype=torch.float64)
    p = project(lengths)
    assert (p >= 0).all()
    torch.testing.assert_close(p.sum(dim=1), torch.ones(len(p)).double())
    torch.testing.assert_close(p, by_sorting(lengths), atol=1e-12, rtol=1e-9)
    torch.testing.assert_close(project(p), p, atol=1e-12, rtol=1e-9)
    torch.testing.assert_close(project(lengths + 3.5), p, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_it_is_the_nearest_point(scale: Any) -> None:
    """<u - p, q - p> <= 0 for every q of the simplex: the inequality that defines a projection onto a convex set."""
    lengths = scale * torch.rand(40, 7).double()
    p = project(lengths)
    for _ in range(50):
        q = torch.distributions.Dirichlet(torch.full((7,), 0.3).double()).sample((40,))
        assert (((lengths - p) * (q - p)).sum(dim=1) <= 1e-12 * scale).all()


def test_long_rows_end_up_sparse_and_short_ones_dense() -> None:
    """How many zeros there are depends on the length: a one-hot row for large c u, the uniform one as c goes to 0."""
    u = torch.rand(5, 30).double()
    zeros = [(project(c * u) == 0).double().mean().item() for c in (1e-3, 0.3, 1.0, 5.0, 100.0)]
    assert zeros == sorted(zeros)
    assert zeros[0] == 0
    assert zeros[-1] > 0.8
    assert (project(1e6 * u).amax(dim=1) == 1).all()


def test_the_gradient_is_that_of_the_projection() -> None:
    """Through tau as well, and under vmap."""
    lengths = torch.rand(4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(project, (lengths,))
    many = torch.rand(3, 4, 6).double()
    torch.testing.assert_close(vmap(project)(many), torch.stack([project(one) for one in many]))
    totals = torch.rand(6, 3, 1).double()
    expected = torch.stack([threshold(*own) for own in zip(many.unbind(2), totals, strict=True)])
    torch.testing.assert_close(vmap(threshold, in_dims=(2, 0))(many, totals), expected)


@pytest.mark.parametrize("scales", ["alike", "apart", "some zero"])
def test_many_rows_are_thresholded_as_each_alone(scales: Any) -> None:
    """A guess from some rows, right or far off, leaves every row's own threshold: sum max(u - tau, 0) = total."""
    lengths, total = torch.randn(60, 40).abs().double(), 5 * torch.rand(60, 1).double()
    if scales != "alike":
        lengths *= 10 ** torch.linspace(-3, 3, 60).double()[torch.randperm(60), None]
    if scales == "some zero":
        lengths[torch.randperm(60)[:20]] = 0
    tau = threshold(lengths, total)
    torch.testing.assert_close((lengths - tau).clamp_min(0).sum(dim=1, keepdim=True), total)
    alone = [threshold(u[None], t[None]) for u, t in zip(lengths, total, strict=True)]
    torch.testing.assert_close(tau, torch.cat(alone), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(project(lengths), by_sorting(lengths), atol=1e-12, rtol=1e-9)


def test_numbers_that_are_none_do_not_hang_it() -> None:
    """NaN rows stay NaN, the others are projected; rows of zeros are uniform; entries too large for 1 to count end."""
    p = project(torch.tensor([[torch.nan, 1.0, 2.0], [0.0, 0.0, 0.0], [3.0, 1.0, 2.5], [1e30, 1e30, 0.0]]))
    assert p[0].isnan().all()
    torch.testing.assert_close(p[1], torch.full((3,), 1 / 3))
    torch.testing.assert_close(p[2], torch.tensor([0.75, 0.0, 0.25]))
    assert p[3].isfinite().all()
