"""Every schedule of conf/ works for runs of any length."""

from collections.abc import Callable

import pytest
import torch

from psilon_bench.config import Config, options


@pytest.mark.parametrize("name", options("scheduler"))
def test_short_runs_have_a_learning_rate_in_every_epoch(name: str, config: Callable[..., Config]) -> None:
    """From 1 to 12 epochs: the rate is finite, positive but for cosine's end, and never above optimizer.lr."""
    for epochs in range(1, 13):
        own = config(f"scheduler={name}", f"trainer.epochs={epochs}")
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=own.optimizer.lr)
        scheduler = own.scheduler.build(optimizer)
        for _ in range(epochs):
            rate = optimizer.param_groups[0]["lr"]
            assert 0 < rate <= own.optimizer.lr * (1 + 1e-9)
            optimizer.step()
            scheduler.step()


def test_onecycle_is_the_papers(config: Callable[..., Config]) -> None:
    """1000 epochs: 1e-4 at the start, 2e-3 a fifth in, 5e-5 at the end (PSiLON)."""
    own = config("trainer.epochs=1000", "optimizer.lr=2e-3")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=own.optimizer.lr)
    scheduler = own.scheduler.build(optimizer)
    rates = []
    for _ in range(1000):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(rates) < 1000:
            scheduler.step()
    assert rates[0] == pytest.approx(1e-4)
    assert max(rates) == pytest.approx(2e-3, rel=1e-5)
    assert rates.index(max(rates)) in range(198, 202)
    assert rates[-1] == pytest.approx(5e-5)
