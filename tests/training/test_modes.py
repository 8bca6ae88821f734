"""Networks that train otherwise than they predict: BatchNorm in stacks, snapshots, checkpoints and files."""

import copy
import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_images import made_up, write_mnist
from rich.console import Console
from stoppable import rows_of
from torch import nn

from psilon_bench.records.networks import load
from psilon_bench.regularizers.p_norm_decay import PNormDecay
from psilon_bench.run.display import Display
from psilon_bench.run.run import run_alone
from psilon_bench.training.stack import Shared, Stack


class Normed(nn.Module):
    """Two layers with BatchNorm between; `modes` keeps the mode of each forward pass."""

    modes: list[bool] = []  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)

    def forward(self, x: Any) -> Any:
        self.modes.append(self.training)
        return self.last(torch.relu(self.norm(self.first(x))))


@pytest.fixture
def networks() -> Any:
    """networks(3): always the same."""

    def networks(size: Any) -> Any:
        torch.manual_seed(5)
        return [Normed().double() for _ in range(size)]

    return networks


@pytest.fixture
def fresh(make: Any, networks: Any, task: Any) -> Any:
    """fresh(3): always the same Trainer, on uneven tasks of its members, with decay."""

    def fresh(size: Any, **changes: Any) -> Any:
        tasks = [task("regression", seed=i, sizes=(23, 11, 7)) for i in range(size)]
        regularizers = [PNormDecay(0.8, None, "linear", ["biases", "gains", "norms"]) for _ in range(size)]
        settings = {"epochs": 7, "eval_every": 2, "early_stopping": 1} | changes
        return make(networks(size), tasks, regularizers, [0.1 * 0.1**i for i in range(size)], **settings)

    return fresh


@pytest.mark.parametrize("size", [1, 3])
def test_training_steps_alone_are_in_training_mode(fresh: Any, size: Any) -> None:
    """Evaluations, Jacobians and the networks that are handed out are not."""
    fit = fresh(size, early_stopping=None)
    Normed.modes.clear()
    rows_of(fit)
    assert Normed.modes.count(True) == 7 * 5
    assert Normed.modes.count(False) == 4
    Normed.modes.clear()
    fit.evaluation.jacobians(3)
    fit.stack.network(size - 1)(torch.zeros(1, 5).double())
    assert Normed.modes == [False, False]


@pytest.mark.parametrize("dim", [0, None, Shared(2)])
def test_statistics_of_a_stack_are_each_members_own(networks: Any, dim: Any) -> None:
    """Logits and all buffers after three batches, of each member alone: own batches, one for all, one for a group."""
    alone = networks(6)
    stack = Stack(copy.deepcopy(alone))
    for _ in range(3):
        x = torch.randn({0: (6, 9, 5), None: (9, 5)}.get(dim, (2, 9, 5))).double()
        each = [x[i] if dim == 0 else x if dim is None else x[i // 3] for i in range(6)]
        with stack.training():
            logits = stack.map(lambda model, x: model(x), x, in_dims=(dim,))
        expected = torch.stack([model.train()(own) for model, own in zip(alone, each, strict=True)])
        torch.testing.assert_close(logits, expected, rtol=1e-12, atol=1e-12)
    x = torch.randn(9, 5).double()
    for index, model in enumerate(alone):
        for name, value in model.state_dict().items():
            torch.testing.assert_close(stack.state(index)[name], value, rtol=1e-12, atol=1e-12)
        before = stack.state(index)["norm.running_mean"]
        torch.testing.assert_close(stack.network(index)(x), model.eval()(x), rtol=1e-12, atol=1e-12)
        assert torch.equal(stack.state(index)["norm.running_mean"], before)
    assert stack.buffers["norm.num_batches_tracked"].tolist() == [3] * 6


@pytest.mark.sampled(every=3)
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("stop_at", [3, 10, 11, 19])
def test_stopped_and_resumed_keeps_the_statistics(fresh: Any, size: Any, stop_at: Any) -> None:
    """History, weights, running statistics, best and last, to the last bit."""
    whole = fresh(size)
    expected = rows_of(whole)
    first = fresh(size)
    before, file = rows_of(first, stop_at), io.BytesIO()
    torch.save(first.state(), file)
    file.seek(0)
    second = fresh(size)
    with torch.serialization.safe_globals([Counter]):
        second.load_state(torch.load(file, weights_only=True))
    after = rows_of(second)
    assert [one + other for one, other in zip(before, after, strict=True)] == expected
    assert "norm.running_var" in whole.best
    for name in whole.last:
        assert torch.equal(second.last[name], whole.last[name])
        assert torch.equal(second.best[name], whole.best[name])


@pytest.mark.parametrize("select", ["last", "best"])
def test_snapshots_have_the_statistics_of_their_moment(fresh: Any, select: Any) -> None:
    """What is selected predicts as it did then: its validation loss is that of its row. Members stop apart."""
    fit = fresh(3, select=select, epochs=40, eval_every=1)
    rows = rows_of(fit)
    assert len({len(own) for own in rows}) > 1
    fit.select()
    again = fit.evaluation.scores(fit.evaluation.val, "val")
    for own, row, member in zip(again, rows, fit.members, strict=True):
        chosen = member.best_row if select == "best" else row[-1]
        assert own["val/loss"] == pytest.approx(chosen["val/loss"], rel=1e-12)


def test_what_is_saved_predicts_as_it_was_tested(config: Any, tmp_path: Path) -> None:
    """model.pt of a run, from raw pixels, row by row: the accuracy and the loss of the record."""
    size = ("model=resnet_tiny", "model.channels=[3,4]", "reg=p_norm_decay", "reg.lam=0.1", "trainer.epochs=3")
    data = write_mnist(tmp_path, side=6, sizes=(60, 30))
    record = run_alone(config(*size, *data, "tracking=none"), Display(Console(quiet=True)))
    pixels, labels = made_up(30, (6, 6), 1)
    saved = load(record.folder)
    p = np.concatenate([saved.predict(row[None]) for row in pixels.reshape(30, 1, 6, 6)])
    assert record.run["metrics"]["test/accuracy"] == (p.argmax(axis=1) == labels).mean()
    assert record.run["metrics"]["test/loss"] == pytest.approx(-np.log(p[range(30), labels]).mean(), rel=1e-9)
    assert set(load(record.folder, "best").network.state_dict()) == set(saved.network.state_dict())
