"""Networks of a person's own, each with something that the package's networks do not have."""

import torch
from torch import Tensor, nn


class Plain(nn.Module):
    """Two linear layers with six units between, and nothing of the package."""

    def __init__(self, num_features: int, num_outputs: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(num_features, 6), nn.Linear(6, num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.hidden(x))

    def hidden(self, x: Tensor) -> Tensor:
        return torch.relu(self.first(x))


class Dropped(Plain):
    """Half of its units are dropped at random in training."""

    def hidden(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(super().hidden(x), 0.5, self.training)


class Signed(Plain):
    """Reads all inputs, and behind them all of them again with the other sign."""

    def __init__(self, num_features: int, num_outputs: int) -> None:
        super().__init__(2 * num_features, num_outputs)

    def hidden(self, x: Tensor) -> Tensor:
        return super().hidden(torch.cat([x, -x], dim=-1))


class Frozen(Plain):
    """Its first layer is not trained."""

    def __init__(self, num_features: int, num_outputs: int) -> None:
        super().__init__(num_features, num_outputs)
        self.first.requires_grad_(False)


class Tied(Plain):
    """Two of its layers have the same weights."""

    def __init__(self, num_features: int, num_outputs: int) -> None:
        super().__init__(num_features, num_outputs)
        self.second, self.third = nn.Linear(6, 6), nn.Linear(6, 6)
        self.third.weight = self.second.weight

    def hidden(self, x: Tensor) -> Tensor:
        return torch.relu(self.third(torch.relu(self.second(super().hidden(x)))))


class Counting(Plain):
    """Multiplies by what a buffer says that no file has, and that each training step changes."""

    steps: Tensor

    def __init__(self, num_features: int, num_outputs: int) -> None:
        super().__init__(num_features, num_outputs)
        self.register_buffer("steps", torch.zeros(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.steps += 1
        return super().forward(x) * (1 + 0.01 * self.steps)


class Scaled(Plain):
    """Divides by a number of the rows it is trained on, which is neither parameter nor buffer."""

    def __init__(self, num_features: int, num_outputs: int, rows: Tensor | None = None) -> None:
        super().__init__(num_features, num_outputs)
        self.scale = 1.0 if rows is None else float(rows[:5].abs().max())

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x / self.scale)


class Shifted(Plain):
    """Subtracts one of the rows it is trained on, a tensor that is no buffer."""

    def __init__(self, num_features: int, num_outputs: int, rows: Tensor | None = None) -> None:
        super().__init__(num_features, num_outputs)
        self.shift = torch.zeros(()) if rows is None else rows[0].clone()

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - self.shift.to(x))


class Branching(Plain):
    """Does this or that according to a value."""

    def hidden(self, x: Tensor) -> Tensor:
        h = self.first(x)
        return h.relu() if h.sum().item() > 0 else h.tanh()


class Averaging(Plain):
    """Has a share of the mean over the batch in its units, and begins with none."""

    def __init__(self, num_features: int, num_outputs: int) -> None:
        super().__init__(num_features, num_outputs)
        self.share = nn.Parameter(torch.zeros(()))

    def hidden(self, x: Tensor) -> Tensor:
        h = super().hidden(x)
        return h + self.share * h.mean(dim=0)


class Directed(Plain):
    """Reads the direction of a row alone, which a row of zeros has not."""

    def hidden(self, x: Tensor) -> Tensor:
        return super().hidden(x / x.square().sum(dim=-1, keepdim=True).sqrt())


class Remembering(Plain):
    """Keeps the mean over the last batch, and adds it where it does not train."""

    mean: Tensor

    def __init__(self, num_features: int, num_outputs: int) -> None:
        super().__init__(num_features, num_outputs)
        self.register_buffer("mean", torch.zeros(6))

    def hidden(self, x: Tensor) -> Tensor:
        h = super().hidden(x)
        if not self.training:
            return h + self.mean
        self.mean.copy_(h.detach().mean(dim=0))
        return h
