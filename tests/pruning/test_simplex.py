"""The projection onto the simplex: on it, idempotent, nearest, monotone; the loop against sorting."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from projection import project, project_by_sorting

from psilon_bench.models.simplex import thresholds_near

ROWS = st.integers(1, 9).flatmap(
    lambda d: st.lists(st.lists(st.floats(0, 50), min_size=d, max_size=d), min_size=1, max_size=6)
)


@settings(deadline=None, max_examples=200)
@given(ROWS)
def test_it_is_that_of_sorting_and_on_the_simplex(rows: Any) -> None:
    """Entries >= 0 with sum 1, the same as by sorting; projecting again changes nothing; a shift changes nothing."""
    lengths = torch.tensor(rows, dtype=torch.float64)
    p = project(lengths)
    assert (p >= 0).all()
    torch.testing.assert_close(p.sum(dim=1), torch.ones(len(p)).double())
    torch.testing.assert_close(p, project_by_sorting(lengths), atol=1e-12, rtol=1e-9)
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


@pytest.mark.parametrize("guess", [-torch.inf, 0.0, 1.0, torch.nan, 1e9])
@pytest.mark.parametrize("scales", ["alike", "apart", "some zero"])
def test_thresholds_are_those_of_each_row_wherever_the_search_begins(scales: Any, guess: Any) -> None:
    """sum max(u - tau, 0) = total, with so many entries above tau."""
    lengths, total = torch.randn(60, 40).abs().double(), 5 * torch.rand(60, 1).double()
    if scales != "alike":
        lengths *= 10 ** torch.linspace(-3, 3, 60).double()[torch.randperm(60), None]
    if scales == "some zero":
        lengths[torch.randperm(60)[:20]] = 0
    tau, count = thresholds_near(lengths, total, torch.full_like(total, guess))
    torch.testing.assert_close((lengths - tau).clamp_min(0).sum(dim=1, keepdim=True), total)
    assert count.equal((lengths > tau).sum(dim=1, keepdim=True).double())


def test_numbers_that_are_none_do_not_hang_it() -> None:
    """NaN rows stay NaN, the others are projected; rows of zeros are uniform; entries too large for 1 to count end."""
    p = project(torch.tensor([[torch.nan, 1.0, 2.0], [0.0, 0.0, 0.0], [3.0, 1.0, 2.5], [1e30, 1e30, 0.0]]))
    assert p[0].isnan().all()
    torch.testing.assert_close(p[1], torch.full((3,), 1 / 3))
    torch.testing.assert_close(p[2], torch.tensor([0.75, 0.0, 0.25]))
    assert p[3].isfinite().all()
