"""Training rows of every member on the device, and their batches: index gathers, no DataLoader."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from psilon_bench.data.task import Split

Augment = Callable[[Tensor, torch.Generator], Tensor]


class Rows:
    """One split of every member, x and y; held once where the members share it."""

    def __init__(self, splits: Sequence[Split], device: torch.device, dtype: torch.dtype) -> None:
        shared = all(split is splits[0] for split in splits)
        self.in_dim = None if shared else 0
        self.x = self._join([split.x for split in splits], shared).to(device, dtype)
        y = self._join([split.y for split in splits], shared).to(device)
        self.y = y.to(dtype) if y.is_floating_point() else y
        self.num_rows = len(splits[0])

    @staticmethod
    def _join(tensors: list[Tensor], shared: bool) -> Tensor:
        return tensors[0] if shared else torch.stack(tensors)

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (members, batch) of x and y, with the members as first axis."""
        if self.in_dim is None:
            return self.x[index], self.y[index]
        member = torch.arange(len(index), device=index.device)[:, None]
        return self.x[member, index], self.y[member, index]

    def chunks(self, rows: int) -> Iterator[Tensor]:
        """x in pieces of at most so many rows, for evaluation within bounded memory."""
        yield from self.x.split(rows, dim=0 if self.in_dim is None else 1)


class Batches:
    """Epochs of shuffled batches; each member has an order of its own, made from its seed alone."""

    def __init__(self, rows: Rows, seeds: Sequence[int], num_batches: int, batch_size: int | None) -> None:
        self.rows = rows
        self.generators = [generator(seed) for seed in seeds]
        self.num_batches, self.batch_size = num_batches, batch_size

    def epoch(self, augment: Augment | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """(x, y) of each batch, members first. Each row once: batches differ by one row, or the last is short."""
        count = self.rows.num_rows
        order = torch.stack([torch.randperm(count, generator=generator) for generator in self.generators])
        order = order.to(self.rows.x.device, non_blocking=True)
        parts = order.split(self.batch_size, 1) if self.batch_size else order.tensor_split(self.num_batches, 1)
        for part in parts:
            x, y = self.rows.take(part)
            if augment is not None:
                x = torch.stack([augment(own, g) for own, g in zip(x, self.generators, strict=True)])
            yield x, y


def generator(seed: int) -> torch.Generator:
    """The random numbers of the batches, independent of those that torch.manual_seed(seed) gave the weights."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence([seed, 1]).generate_state(1)[0]))
