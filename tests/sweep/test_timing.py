"""Estimates of the time of a sweep: of any stack from small ones, and as a range where turns vary."""

from threading import Barrier
from typing import Any

import pytest

from psilon_bench.run.printing import Range
from psilon_bench.sweep import process_pool, timing
from psilon_bench.sweep.placement import Placement
from psilon_bench.sweep.plan import estimated_s
from psilon_bench.sweep.timing import StepTime, step_time


@pytest.mark.parametrize("size", [1, 2, 8, 31, 32, 33, 200, 1000])
def test_a_step_that_is_a_line_in_the_number_of_networks_is_known_at_any_size(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """a + b n: per network a / n + b, and the fast and slow turns in proportion."""
    tried: list[int] = []

    def line(configs: Any) -> StepTime:
        tried.append(len(configs))
        ms = 1.5 + 0.04 * len(configs)
        return StepTime(ms, 0.9 * ms, 1.2 * ms)

    monkeypatch.setattr(timing, "trial", line)
    found = step_time(list(range(1000)), size)  # type: ignore[arg-type]
    assert found.ms == pytest.approx(1.5 / size + 0.04)
    assert (found.low, found.high) == pytest.approx((0.9 * found.ms, 1.2 * found.ms))
    assert sum(tried) <= max(32, size // 8) + 8


def test_a_real_stack_takes_less_per_network_than_a_lone_one(config: Any) -> None:
    """By a trial of tiny networks; its quantiles are in order."""
    configs = [config(f"seed={seed}", "model.hidden=4") for seed in range(12)]
    alone, stacked = step_time(configs, 1), step_time(configs, 12)
    for found in (alone, stacked):
        assert 0 < found.low <= found.ms <= found.high
    assert stacked.ms < alone.ms


def test_an_estimate_is_a_range_where_turns_vary(config: Any) -> None:
    """4 runs x 200 epochs x 5 batches at 10 ms are 40 s; fast and slow turns are its ends where they are far apart."""
    group = [config(f"seed={seed}", "trainer.epochs=200") for seed in range(4)]
    for low, high, text in ((9.0, 12.0, "40"), (9.0, 13.0, "36 to 52"), (7.0, 10.0, "28 to 40")):
        assert str(estimated_s(group, Placement.timed(1, StepTime(10.0, low, high)))) == text
    assert estimated_s(group, Placement(1, None)) is None
    assert str(Range(10.0, 9.0, 11.0) + Range(30.0, 20.0, 60.0)) == "29 to 71"


def test_a_trial_that_fails_in_one_process_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others, which wait for it at the start, end at once; they would wait for two minutes."""
    worker = process_pool.Worker(Barrier(2))
    monkeypatch.setattr(process_pool, "workers_here", [worker])
    monkeypatch.setattr(process_pool, "step_ms", lambda stack, ready: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        process_pool.trial_step_ms([])
    assert worker.all_workers.broken
