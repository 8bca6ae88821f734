"""Training rows of every member on the device, and their batches: index gathers, no DataLoader."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from psilon_bench.data.task import Split
from psilon_bench.training.stack import Dim, Shared

Augment = Callable[[Tensor, torch.Generator], Tensor]


class Rows:
    """Holds one split of all members, x and y; members that share a split share its rows in memory.

    in_dim is the vmap dimension of what `chunks` and `y` give: None where all members share one split, else 0.
    """

    def __init__(self, splits: Sequence[Split], device: torch.device, dtype: torch.dtype) -> None:
        unique = list({id(split): split for split in splits}.values())
        self.in_dim = None if len(unique) == 1 else 0
        self.which = torch.tensor([[id(split) for split in unique].index(id(own)) for own in splits], device=device)
        self.x = torch.stack([split.x for split in unique]).to(device, dtype)
        y = torch.stack([split.y for split in unique]).to(device)
        self.unique_y = y.to(dtype) if y.is_floating_point() else y
        self.num_rows = len(splits[0])

    @property
    def y(self) -> Tensor:
        """Return all targets, (rows, ...), or (members, rows, ...) where the members differ."""
        return self.unique_y[0] if self.in_dim is None else self.unique_y[self.which]

    def whole(self) -> tuple[tuple[Tensor, Tensor], Dim]:
        """Return all x and y, and their vmap dimension. Neighbours share their split if all groups are as large."""
        if self.in_dim is None:
            return (self.x[0], self.y), None
        groups, each = len(self.x), len(self.which) // len(self.x)
        neighbours = torch.arange(groups, device=self.which.device).repeat_interleave(each)
        if each > 1 and torch.equal(self.which, neighbours):
            return (self.x, self.unique_y), Shared(groups)
        return (self.x[self.which], self.y), 0

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return these rows, index (members, batch), of x and y, with the members as first axis."""
        places = self.which[:, None] * self.num_rows + index
        return rows_at(self.x.flatten(0, 1), places), rows_at(self.unique_y.flatten(0, 1), places)

    def chunks(self, rows: int) -> Iterator[Tensor]:
        """Yield x in pieces of at most so many rows, for evaluation within bounded memory."""
        for start in range(0, self.num_rows, rows):
            piece = self.x[:, start : start + rows]
            yield piece[0] if self.in_dim is None else piece[self.which]


class Batches:
    """Makes epochs of shuffled batches; the order of each member is made from its seed alone.

    in_dim is the vmap dimension of what `epoch` gives. A single batch of all rows is given as the rows lie, without a
    copy for each member: their order does not matter.
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
        self.whole: tuple[Tensor, Tensor] | None = None
        self.in_dim: Dim = 0
        if self.per_epoch == 1 and not self.augments:
            self.whole, self.in_dim = rows.whole()
        self.order: Tensor | None = None  # of the epoch under way, (members, rows)
        self.position = 0  # its batches that are done

    def epoch(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (x, y) of each batch, members first; each row once. Batches differ by one row, or the last is short.

        An epoch that was interrupted (see `state`) is continued.
        """
        if self.whole:
            if not self.position:
                self.position = 1
                yield self.whole
            self.position = 0
            return
        if self.order is None:
            self.order = torch.stack([torch.randperm(self.rows.num_rows, generator=g) for g in self.generators])
            self.position = 0
        order = self.order.to(self.rows.x.device)
        parts = order.split(self.batch_size, 1) if self.batch_size else order.tensor_split(self.num_batches, 1)
        while self.position < len(parts):
            x, y = self.rows.take(parts[self.position])
            self.position += 1
            yield self.augmented(x), y
        self.order, self.position = None, 0

    def augmented(self, x: Tensor) -> Tensor:
        """Return a batch (members, batch, ...) changed by each member's augmentation and generator."""
        if not self.augments:
            return x
        members = zip(self.augments, x, self.augmenters, strict=True)
        return torch.stack([rows if augment is None else augment(rows, g) for augment, rows, g in members])

    def endless(self) -> Iterator[tuple[Tensor, Tensor]]:
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


def rows_at(table: Tensor, places: Tensor) -> Tensor:
    """Return table[places]; index_select copies whole rows, up to five times as fast."""
    return table.index_select(0, places.flatten()).unflatten(0, places.shape)


def per_epoch(rows: int, num_batches: int, batch_size: int | None) -> int:
    """Return the number of batches in an epoch over so many rows."""
    return -(-rows // batch_size) if batch_size else num_batches


def generator(*entropy: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator that depends on all of `entropy` (seeds, a stream), unlike that of torch.manual_seed(seed)."""
    return torch.Generator(device).manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))
