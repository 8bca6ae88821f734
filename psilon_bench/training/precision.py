"""hardware.precision: in what a step computes its matrix products, and what `auto` makes of it."""

import copy
import itertools
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch

from psilon_bench.machine.device import device_settings
from psilon_bench.training.member import Member
from psilon_bench.training.trainer import Trainer
from psilon_bench.training.turns import turn_s

WORTH = 1.2  # float32 / bfloat16 from which on `auto` takes bfloat16
TURNS = 7
Build = Callable[[Sequence[Member], torch.dtype | None], Trainer]


def autocast_of(members: Sequence[Member], build: Build) -> torch.dtype | None:
    """Return the type in which a stack's networks are called, None for that of their parameters.

    auto: bfloat16 where a trial on copies finds its steps WORTH times as fast. Its last validation losses lie within
    the spread of seeds (presets precision_higgs and precision_cpu_act); sparse recovery, which goes on to errors far
    below bfloat16's, never takes it.
    """
    hardware = members[0].config.hardware
    if hardware.precision != "auto":
        return device_settings(hardware).autocast
    if members[0].task.kind == "recovery":
        return None
    trainers = [build(copies(members), dtype) for dtype in (None, torch.bfloat16)]
    return torch.bfloat16 if gain(*map(turns, trainers)) > WORTH else None


def copies(members: Sequence[Member]) -> list[Member]:
    """Return the members with copies of their networks, for a trial that trains them."""
    return [replace(member, model=copy.deepcopy(member.model)) for member in members]


def turns(trainer: Trainer) -> Iterator[float]:
    """Yield the seconds of a step, the mean of as many as fill a turn; the first turn warms up."""
    batches = trainer.batches.endless()
    while True:
        with trainer.randomness.own():
            # reading a number waits for a GPU
            taken = turn_s(lambda: trainer.training_step(next(batches), trainer.taken)[0].sum().item())
        yield taken


def gain(first: Iterator[float], second: Iterator[float]) -> float:
    """Return the median ratio of what two contestants take in turns, first / second."""
    ratios = [a / b for a, b in itertools.islice(zip(first, second, strict=True), 1, TURNS + 1)]
    return statistics.median(ratios)
