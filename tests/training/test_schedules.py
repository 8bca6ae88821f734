"""Every schedule of conf/ works for runs of any length."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from psilon_bench.config.options import options
from psilon_bench.config.schema import Config
from psilon_bench.errors import UsageError
from psilon_bench.run.checks import prepare
from psilon_bench.training.step import TrainingStep


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


def test_a_schedule_by_steps_moves_with_each(
    make: Any, network: Any, task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rates of the steps: the factor of each step from 0, whole over epochs; the row has that of its last step."""
    rates, rows = [], []
    fit = make(
        [network("plain", 5, 1)],
        [task("regression")],
        factor=lambda at: 0.9**at,
        epochs=3,
        schedule="step",
        num_batches=4,
    )
    taken = TrainingStep.__call__

    def noted(self: Any, batch: Any, number: Any) -> Any:
        rates.append(self.optimizer.param_groups[0]["lr"])
        return taken(self, batch, number)

    monkeypatch.setattr(TrainingStep, "__call__", noted)
    fit.run(lambda member, row: rows.append(row))
    assert rates == pytest.approx([0.05 * 0.9**at for at in range(12)])
    assert [row["lr"] for row in rows] == pytest.approx([rates[3], rates[7], rates[11]])


@pytest.mark.parametrize(("name", "key"), [("onecycle", "total_steps"), ("cosine", "T_max")])
def test_a_schedule_by_steps_must_be_long_enough(config: Any, name: Any, key: Any) -> None:
    """Its lengths are steps; the line says how many there are."""
    own = (f"scheduler={name}", "dataset=wine", "trainer.schedule=step", "trainer.epochs=6", "trainer.num_batches=7")
    with pytest.raises(UsageError, match=rf"scheduler\.{key}=6 and the run has 42\. Set scheduler\.{key}=42\.$"):
        prepare(config(*own))
    prepare(config(*own, f"scheduler.{key}=42"))
