"""What a regularizer does around the step: its own values per member, in place, the same in a stack as alone."""

import copy
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from psilon_bench.regularizers.regularizer import Regularizer


class Shrink(Regularizer):
    """After each step W <- W - step * rate * (W before the step); starts from W / 2. `rate` falls to its half."""

    stackable = ("rate",)

    def __init__(self, rate: Any) -> None:
        self.rate = rate

    def values(self, progress: Any) -> Any:
        return {"rate": self.rate * (1 - progress / 2)}

    def at_start(self, model: Any, **own: Tensor) -> None:
        for layer in model.layers:
            layer.weight.mul_(0.5)

    def before_step(self, model: Any, step: Tensor, **own: Tensor) -> dict[str, Tensor]:
        return {f"{i}": layer.weight * step * own["rate"] for i, layer in enumerate(model.layers)}

    def after_step(self, model: Any, step: Tensor, before: dict[str, Tensor], **own: Tensor) -> None:
        for i, layer in enumerate(model.layers):
            layer.weight.sub_(before[f"{i}"])


def by_hand(model: Any, data: Any, batches: Any, rate: Any, lam: Any, lr: Any, epochs: Any) -> Any:
    """Plain SGD and the same shrinking, one tensor at a time."""
    with torch.no_grad():
        for layer in model.layers:
            layer.weight /= 2
    for epoch in range(epochs):
        for index in batches(epoch):
            loss = torch.nn.functional.mse_loss(model(data.train.x[index].double()), data.train.y[index].double())
            gradients = torch.autograd.grad(loss, list(model.parameters()))
            before = [layer.weight.detach().clone() for layer in model.layers]
            with torch.no_grad():
                for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                    parameter -= lr[epoch] * gradient
                for layer, old in zip(model.layers, before, strict=True):
                    layer.weight -= lr[epoch] * lam * rate * (1 - epoch / (epochs - 1) / 2) * old
    return model


@pytest.mark.parametrize("members", [[0], [1], [0, 1, 2]])
def test_the_hooks_are_the_obvious_loop(make: Any, network: Any, task: Any, members: Any) -> None:
    """at_start once, before_step and after_step with lr x lam of the step and the member's own value."""
    rates, lams, factors = [0.5, 2.0, 0.0], [0.1, 0.3, 0.2], [1.0, 0.5, 2.0]
    models = [network("plain", 5, 1, hidden=3) for i in range(3)]
    data = task("regression")
    sgd = partial(torch.optim.SGD, lr=0.05)
    fit = make(
        [copy.deepcopy(models[i]) for i in members],
        [data] * len(members),
        [Shrink(rates[i]) for i in members],
        [lams[i] for i in members],
        sgd,
        factors.__getitem__,
        epochs=3,
    )
    batches = make([models[i] for i in members], [data] * len(members)).batches
    taken = [indices(batches) for _ in range(3)]
    fit.run(lambda member, row: None)
    for place, i in enumerate(members):
        expected = by_hand(
            copy.deepcopy(models[i]),
            data,
            lambda epoch, place=place: [index[place] for index in taken[epoch]],
            rates[i],
            lams[i],
            [0.05 * factor for factor in factors],
            3,
        )
        for name, value in expected.state_dict().items():
            torch.testing.assert_close(fit.stack.state(place)[name], value, rtol=1e-12, atol=1e-13)


def indices(batches: Any) -> Any:
    """The row numbers of the batches of the next epoch, (members, batch) each."""
    order = torch.stack([torch.randperm(batches.rows.num_rows, generator=g) for g in batches.generators])
    return order.tensor_split(batches.num_batches, 1)
