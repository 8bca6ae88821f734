"""Training rows of every member on the device, and their batches: index gathers, no DataLoader."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from psilon_bench.data.task import Split
from psilon_bench.training.stack import Dim, Shared, filled_up

Augment = Callable[[Tensor, torch.Generator], Tensor]
Shares = dict[str, Tensor]  # `shares` of each row in a mean over rows, as metrics.prediction has them; {}: all alike
RowBatch = tuple[Tensor, Tensor, Shares]  # x, y, and the shares of the rows


class Rows:
    """Holds one split of all members, x and y; members that share a split share its rows in memory.

    in_dim is the vmap dimension of what `chunks`, `y` and `shares` give: None where all members share one split, else
    0. Splits of unequal length are filled up with rows of weight 0, so networks must treat each row by itself (no batch
    normalisation), and those with fewer columns with zeros, as the networks are (see Stack).
    """

    def __init__(self, splits: Sequence[Split], device: torch.device, dtype: torch.dtype) -> None:
        unique = list({id(split): split for split in splits}.values())
        self.in_dim = None if len(unique) == 1 else 0
        self.which = torch.tensor([[id(split) for split in unique].index(id(own)) for own in splits], device=device)
        widest = max((split.x.shape[1:] for split in unique), key=math.prod)
        x = [filled_up(split.x, (len(split), *widest)) for split in unique]
        self.x = pad_sequence(x, batch_first=True).to(device, dtype)
        y = pad_sequence([split.y for split in unique], batch_first=True).to(device)
        self.unique_y = y.to(dtype) if y.is_floating_point() else y
        self.sizes = [len(split) for split in splits]  # without the rows that fill up
        self.num_rows = self.x.shape[1]
        self.weights: Tensor | None = None  # (splits, rows), of mean 1 over the rows of each split
        if len(set(self.sizes)) > 1 or any(split.weights is not None for split in unique):
            self.weights = pad_sequence([unit_weights(split) for split in unique], batch_first=True).to(device, dtype)

    @property
    def y(self) -> Tensor:
        """Return all targets, (rows, ...), or (members, rows, ...) where the members differ."""
        return self.unique_y[0] if self.in_dim is None else self.unique_y[self.which]

    @property
    def shares(self) -> Shares:
        """Return the shares of all rows in a mean over them, with the axes of `y`."""
        every = self.unique_shares
        return {name: value[0] if self.in_dim is None else value[self.which] for name, value in every.items()}

    @property
    def unique_shares(self) -> Shares:
        """Return the shares of all rows in a mean over them, (splits, rows)."""
        return {} if self.weights is None else {"shares": self.weights / self.weights.sum(dim=1, keepdim=True)}

    def whole(self) -> tuple[RowBatch, Dim]:
        """Return all rows, and their vmap dimension. Neighbours share their split if all groups are as large."""
        if self.in_dim is None:
            return (self.x[0], self.y, self.shares), None
        groups, each = len(self.x), len(self.which) // len(self.x)
        neighbours = torch.arange(groups, device=self.which.device).repeat_interleave(each)
        if each > 1 and torch.equal(self.which, neighbours):
            return (self.x, self.unique_y, self.unique_shares), Shared(groups)
        return (self.x[self.which], self.y, self.shares), 0

    def take(self, index: Tensor) -> RowBatch:
        """Return the rows with these indices, (members, batch), with the members as first axis."""
        places = self.which[:, None] * self.num_rows + index
        rows = rows_at(self.x.flatten(0, 1), places), rows_at(self.unique_y.flatten(0, 1), places)
        if self.weights is None:
            return (*rows, {})
        taken = (index < torch.tensor(self.sizes, device=index.device)[:, None]).sum(dim=1, keepdim=True)
        return (*rows, {"shares": rows_at(self.weights.flatten(0, 1), places) / taken})

    def chunks(self, rows: int) -> Iterator[Tensor]:
        """Yield x in pieces of at most so many rows, for evaluation within bounded memory."""
        for start in range(0, self.num_rows, rows):
            piece = self.x[:, start : start + rows]
            yield piece[0] if self.in_dim is None else piece[self.which]


class Batches:
    """Makes epochs of shuffled batches; the order of each member is made from its seed alone.

    in_dim is the vmap dimension of what `epoch` gives. A single batch of all rows is given as the rows lie, without a
    copy for each member: their order does not matter.

    With weights w_i, the loss of a batch of b rows is 1/b sum_i (w_i / m) l_i, where m is the mean weight of ALL
    training rows. A single batch of all rows has the loss sum w_i l_i / sum w_i, so that a row of weight 2 is exactly
    two equal rows. A smaller batch has it on average over the order of the rows: the gradient is unbiased, but a row of
    weight 2 is one row of twice the gradient in one batch, where two rows would come in batches of their own.
    """

    def __init__(
        self,
        rows: Rows,
        seeds: Sequence[int],
        num_batches: int,
        batch_size: int | None,
        augments: Sequence[Augment | None] = (),
    ) -> None:
        """augments: what changes the batches of each member, such as the fill of its own pixels; none at all if ()."""
        self.rows = rows
        self.generators = [generator(seed, 1) for seed in seeds]
        self.augmenters = [generator(seed, 2, device=rows.x.device) for seed in seeds]
        self.num_batches, self.batch_size = num_batches, batch_size
        self.per_epoch = per_epoch(rows.num_rows, num_batches, batch_size)
        self.augments = augments if any(augments) else ()
        self.whole: RowBatch | None = None
        self.in_dim: Dim = 0
        if self.per_epoch == 1 and not self.augments:
            self.whole, self.in_dim = rows.whole()
        self.order: Tensor | None = None  # of the epoch under way, (members, rows)
        self.position = 0  # its batches that are done

    def epoch(self) -> Iterator[RowBatch]:
        """Yield the batches, members first; each row once. Batches differ by one row, or the last is short.

        An epoch that was interrupted (see `state`) is continued.
        """
        if self.whole:
            if not self.position:
                self.position = 1
                yield self.whole
            self.position = 0
            return
        if self.order is None:
            members = zip(self.generators, self.rows.sizes, strict=True)
            self.order = torch.stack([self.shuffled(g, size) for g, size in members])
            self.position = 0
        order = self.order.to(self.rows.x.device)
        parts = self.cut(order)
        while self.position < len(parts):
            x, y, shares = self.rows.take(parts[self.position])
            self.position += 1
            yield self.augmented(x), y, shares
        self.order, self.position = None, 0

    def cut(self, order: Tensor) -> Sequence[Tensor]:
        """Return the batches of an order of rows (..., rows)."""
        return order.split(self.batch_size, -1) if self.batch_size else order.tensor_split(self.num_batches, -1)

    def shuffled(self, generator: torch.Generator, size: int) -> Tensor:
        """Return a random order of a member's rows, int64 (rows,), with batches as long as those of the longest member.

        So a member has the batches that it has alone. What fills them up is the first row of weight 0 behind its rows.
        """
        order = torch.randperm(size, generator=generator)
        if size == self.rows.num_rows:
            return order
        batches = zip(self.cut(order), self.cut(torch.arange(self.rows.num_rows)), strict=True)
        return torch.cat([F.pad(own, (0, len(longest) - len(own)), value=size) for own, longest in batches])

    def augmented(self, x: Tensor) -> Tensor:
        """Return a batch (members, batch, ...) changed by each member's augmentation and generator."""
        if not self.augments:
            return x
        members = zip(self.augments, x, self.augmenters, strict=True)
        return torch.stack([rows if augment is None else augment(rows, g) for augment, rows, g in members])

    def endless(self) -> Iterator[RowBatch]:
        """Yield the batches of epoch after epoch, without an end."""
        while True:
            yield from self.epoch()

    def state(self) -> dict[str, Any]:
        """Return all that decides the batches to come."""
        states = [g.get_state() for g in (*self.generators, *self.augmenters)]
        return {"order": self.order, "position": self.position, "generators": states}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken."""
        self.order, self.position = state["order"], state["position"]
        for own, saved in zip((*self.generators, *self.augmenters), state["generators"], strict=True):
            own.set_state(saved)


def unit_weights(split: Split) -> Tensor:
    """Return the weights (rows,) of a split in units of their mean, all 1 where it has none."""
    return torch.ones(len(split), dtype=torch.float64) if split.shares is None else split.shares * len(split)


def rows_at(table: Tensor, places: Tensor) -> Tensor:
    """Return table[places]; index_select copies whole rows, up to five times as fast."""
    return table.index_select(0, places.flatten()).unflatten(0, places.shape)


def per_epoch(rows: int, num_batches: int, batch_size: int | None) -> int:
    """Return the number of batches in an epoch over so many rows."""
    return -(-rows // batch_size) if batch_size else num_batches


def generator(*entropy: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator that depends on all of `entropy` (seeds, a stream), unlike that of torch.manual_seed(seed)."""
    return torch.Generator(device).manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))
