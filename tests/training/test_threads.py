"""hardware.threads=auto: a trial chooses, changes nothing else, and is made again where steps have become slow."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from tiny import TINY

from psilon_bench.run.checks import prepare
from psilon_bench.training.engines import build_trainer
from psilon_bench.training.threads import FEW_STEPS, Pace, fastest_pace
from psilon_bench.training.trainer import Trainer


@pytest.fixture(autouse=True)
def threads_kept() -> Iterator[None]:
    """The number of threads is the process's own again after a test."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def trainer(config: Any) -> Callable[..., Trainer]:
    """trainer("model.hidden=4"): of a network on breast_cancer, for more steps than a trial needs."""
    long = (f"trainer.epochs={FEW_STEPS}", "trainer.num_batches=2", "trainer.eval_every=1")
    return lambda *settings: build_trainer([prepare(config(*TINY, *long, *settings))])


def trial(own: Trainer, most: int) -> Pace:
    return fastest_pace(own.training_step, own.batches, own.randomness, most)


def advance(own: Trainer, until: int) -> dict[str, Any]:
    """What an engine knows after this epoch."""
    own.advance(until, lambda *_: None, lambda _: None, lambda: None)
    return own.state()


@pytest.mark.parametrize("hidden", [4, 600])
def test_a_trial_changes_nothing_but_the_threads(trainer: Any, hidden: int) -> None:
    """Parameters, rows and batches come out bit for bit as without it, on the same threads."""
    states = []
    for tried in (False, True):
        own = trainer(f"model.hidden={hidden}")
        advance(own, 1)
        if tried:
            trial(own, 3)
        torch.set_num_threads(1)
        states.append(advance(own, 3))
    without, after = states
    assert [dict(row) for row in without["members"]] == after["members"]
    assert all(torch.equal(value, after["tensors"][name]) for name, value in without["tensors"].items())


def test_what_is_tiny_takes_one_thread_and_short_runs_take_all(trainer: Any) -> None:
    """Without a comparison; the process has the threads that were chosen."""
    for own, threads in ((trainer("model.hidden=4"), 1), (trainer("model.hidden=600", "trainer.epochs=2"), 3)):
        assert trial(own, 3) == Pace(threads, None)
        assert torch.get_num_threads() == threads
    tried = trial(trainer("model.hidden=600"), 3)
    assert tried.threads in (1, 2, 3)
    assert torch.get_num_threads() == tried.threads


def test_threads_are_tried_again_where_steps_are_slow(trainer: Any) -> None:
    """Slower than three times the fastest since the choice, where there are several threads to lose."""
    assert Pace(2, 1e-3).lost(4e-3)
    assert not any((Pace(2, 1e-3).lost(2e-3), Pace(1, 1e-3).lost(1.0), Pace(2).lost(1.0)))
    own = trainer("model.hidden=4")
    own.threads.pace = Pace(2, 1e-9)
    torch.set_num_threads(2)
    advance(own, 1)
    assert own.threads.pace == Pace(1)  # it is tiny, or the machine has one core


def test_whole_steps_are_compared_with_whole_steps(trainer: Any) -> None:
    """A step that is mostly projection is slower than the gradients of a trial, and no reason for another one."""
    own = trainer("model.hidden=600").threads
    own.choose()
    own.pace = Pace(2, own.pace.step_s)  # whatever this machine would choose
    torch.set_num_threads(2)
    seconds = 0.0
    for steps, (step_s, fastest) in enumerate(((1000.0, 1000.0), (500.0, 500.0), (1400.0, 500.0)), start=1):
        seconds += 10 * step_s
        own.keep_up(seconds, 10 * steps)
        assert own.pace == Pace(2, fastest)
    own.keep_up(seconds + 15010.0, 40)
    assert own.pace.step_s is None  # of a new choice


def test_a_run_that_goes_on_compares_no_half_counted_steps(trainer: Any) -> None:
    """Of steps that were taken before it went on the time is not known."""
    own = trainer("model.hidden=600").threads
    own.load_state((2, 1.0))
    own.keep_up(1e-3, 100)
    assert own.pace == Pace(2, 1.0)


def test_a_run_goes_on_with_the_threads_that_it_had(trainer: Any, config: Any) -> None:
    """A checkpoint names them, and the run that goes on makes no trial."""
    hardware = config("hardware.threads=auto").hardware
    own, after = trainer("model.hidden=4"), trainer("model.hidden=4")
    own.threads.pace = Pace(2)
    after.load_state(advance(own, 1))
    after.tune(hardware)
    assert after.threads.pace == own.threads.pace != Pace(1)
    assert torch.get_num_threads() == 2


def test_a_record_names_the_threads_that_were_chosen(finished: Any) -> None:
    """Not those that the process began with."""
    torch.set_num_threads(2)
    run = finished(*TINY, "hardware.threads=auto", f"trainer.epochs={FEW_STEPS}", "trainer.num_batches=2").run
    assert run["hardware"]["threads"] == 1
