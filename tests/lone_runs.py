"""Trainings of tasks by a configuration, and the theorem that a member of a stack is the same run alone."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from psilon_bench.run.checks import member_of
from psilon_bench.training.engines import build_trainer
from psilon_bench.training.trainer import Trainer


def ran(members: Sequence[Any]) -> tuple[Trainer, list[dict[str, float]]]:
    """A trainer at its end, and the last row of each history."""
    trainer = build_trainer(members)
    trainer.run(lambda *_: None)
    trainer.select()
    return trainer, [member.last_row for member in trainer.members]


def assert_lone_runs(members: Sequence[tuple[Any, Any]]) -> None:
    """Each of these (configuration, task) as a member of one stack is the lone run, to 1e-10 in float64."""
    stacked, rows = ran([member_of(*member) for member in members])
    for index, member in enumerate(members):
        alone, (expected,) = ran([member_of(*member)])
        assert rows[index] == pytest.approx(expected, rel=1e-9)
        for name, value in stacked.stack.state(index).items():
            torch.testing.assert_close(value, alone.stack.state(0)[name], rtol=0, atol=1e-10)
