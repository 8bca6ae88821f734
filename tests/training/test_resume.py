"""A training that is stopped at any step and goes on elsewhere is the training that was not stopped."""

import copy
from typing import Any

import pytest
import torch
from stoppable import rows_of, saved

from psilon_bench.regularizers.path_norm import PathNorm


@pytest.fixture
def fresh(make: Any, network: Any, task: Any) -> Any:
    """fresh(3): always the same three networks on their own tasks, with a random augmentation and a changing rate."""

    def fresh(size: Any, **more: Any) -> Any:
        torch.manual_seed(3)
        models = [network("plain" if size > 1 else "pnet", 5, 1, hidden=15) for _ in range(size)]
        tasks = [task("regression", seed=i, sizes=(12, 40, 7)) for i in range(size)]
        lams, changes = [10.0**-i for i in range(size)], {"epochs": 9, "eval_every": 2, "early_stopping": 1} | more
        fit = make(models, tasks, PathNorm("improved"), lams, factor=lambda epoch: 0.9**epoch, **changes)
        fit.batches.augments = [lambda x, own: x + 0.1 * torch.rand(x.shape, generator=own, dtype=x.dtype)] * size
        return fit

    return fresh


@pytest.mark.sampled(every=2)
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize(
    "stop_at", [1, 5, 11, 23, *(pytest.param(step, marks=pytest.mark.slow) for step in (4, 10, 29, 38))]
)
def test_stopped_and_resumed_is_not_stopped(fresh: Any, size: Any, stop_at: Any) -> None:
    """History, weights, best weights and outcome to the last bit, at any step: an epoch's last too."""
    whole = fresh(size)
    expected = rows_of(whole)
    first = fresh(size)
    before = rows_of(first, stop_at)
    second = fresh(size)
    torch.rand(7)  # another process has other random numbers of its own
    second.load_state(copy.deepcopy(saved(first)))
    after = rows_of(second)
    assert [one + other for one, other in zip(before, after, strict=True)] == expected
    assert second.members == whole.members
    for name in whole.last:
        assert torch.equal(second.last[name], whole.last[name])
        assert torch.equal(second.best[name], whole.best[name])


@pytest.mark.parametrize("stop_at", [4, 5, 6])
def test_a_schedule_by_steps_goes_on_as_well(fresh: Any, stop_at: Any) -> None:
    """Within an epoch, at its end, behind it."""
    expected, first, second = rows_of(fresh(1, schedule="step")), fresh(1, schedule="step"), fresh(1, schedule="step")
    before = rows_of(first, stop_at)
    second.load_state(saved(first))
    assert before[0] + rows_of(second)[0] == expected[0]


def test_some_members_stop_early_and_others_do_not(fresh: Any) -> None:
    """The runs above are uneven."""
    lengths = [len(rows) for rows in rows_of(fresh(3))]
    assert min(lengths) < max(lengths) == 5
