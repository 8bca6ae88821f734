"""The batches of an epoch: every row once, sizes even, order from the seed alone."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from psilon_bench.data.task import Split
from psilon_bench.training.batches import Batches, Rows
from psilon_bench.training.stack import Shared

CPU = torch.device("cpu")


def numbered(rows: int, start: int = 0) -> Split:
    """Row i has the inputs (i, -i) and the target i."""
    x = torch.arange(start, start + rows)
    return Split(torch.stack([x, -x], dim=1).float(), x)


def dealt(batches: Batches, epochs: int = 1) -> list[list[torch.Tensor]]:
    """Targets of each batch of each epoch, (members, batch); inputs must belong to them."""
    result = []
    for _ in range(epochs):
        parts = list(batches.epoch())
        assert all(torch.equal(x[..., 0], y.double()) and torch.equal(x[..., 1], -y.double()) for x, y, _ in parts)
        result.append([y[None] if batches.in_dim is None else y for _, y, _ in parts])
    return result


@example_settings(deadline=None, max_examples=40)
@given(rows=st.integers(1, 40), share=st.floats(0, 1), seeds=st.lists(st.integers(0, 9), min_size=1, max_size=3))
def test_each_row_comes_once_an_epoch(rows: Any, share: Any, seeds: Any) -> None:
    """num_batches batches whose sizes differ by one at most and together hold each row once, for every member."""
    num_batches = 1 + int(share * (rows - 1))
    splits = [numbered(rows, start=100 * i) for i in range(len(seeds))]
    for parts in dealt(Batches(Rows(splits, CPU, torch.float64), seeds, num_batches, None), epochs=2):
        sizes = [part.shape[1] for part in parts]
        assert len(parts) == num_batches
        assert max(sizes) - min(sizes) <= 1
        for member, own in enumerate(torch.cat(parts, dim=1)):
            assert sorted(own.tolist()) == list(range(100 * member, 100 * member + rows))


@pytest.mark.parametrize(
    ("rows", "size", "expected"), [(10, 4, [4, 4, 2]), (8, 4, [4, 4]), (3, 3, [3]), (3, 1, [1, 1, 1])]
)
def test_batch_size(rows: Any, size: Any, expected: Any) -> None:
    """Batches of batch_size, the last is what is left; num_batches does not count."""
    (parts,) = dealt(Batches(Rows([numbered(rows)], CPU, torch.float64), [0], 99, size))
    assert [part.shape[1] for part in parts] == expected
    assert sorted(torch.cat(parts, dim=1)[0].tolist()) == list(range(rows))


def test_the_order_is_the_seeds() -> None:
    """Same seed, same epochs, whatever torch's global generator did; another seed and another epoch, another order."""

    def epochs(*seeds: int) -> torch.Tensor:
        torch.rand(seeds[0] + 1)
        batches = Batches(Rows([numbered(30)] * len(seeds), CPU, torch.float64), seeds, 4, None)
        return torch.stack([torch.cat(parts, dim=1) for parts in dealt(batches, epochs=2)], dim=1)

    both = epochs(3, 8)
    assert torch.equal(both[0], epochs(3)[0])
    assert torch.equal(both[1], epochs(8)[0])
    assert not torch.equal(both[0], both[1])
    assert not torch.equal(both[0, 0], both[0, 1])


def test_the_batches_do_not_repeat_the_numbers_of_the_weights() -> None:
    """Seed s of the batches is another stream than torch.manual_seed(s), which makes the weights."""
    (parts,) = dealt(Batches(Rows([numbered(30)], CPU, torch.float64), [5], 2, None))
    assert not torch.equal(torch.cat(parts, dim=1)[0], torch.randperm(30, generator=torch.Generator().manual_seed(5)))


@pytest.mark.parametrize("which", [[0], [0, 0, 0], [1, 0, 1], [0, 0, 1, 1], [0, 0, 0, 1, 1], [0, 1, 0, 1]])
@pytest.mark.parametrize("sizes", [{"num_batches": 1, "batch_size": None}, {"num_batches": 9, "batch_size": 6}])
def test_one_batch_of_all_rows_is_no_copy(which: Any, sizes: Any) -> None:
    """Epoch after epoch the same tensors: no axis of members where all share their rows, or one of groups."""
    kinds = [numbered(6), numbered(6, start=50)]
    batches = Batches(Rows([kinds[i] for i in which], CPU, torch.float64), [4] * len(which), **sizes)
    ((x, y, _),), ((again, _, _),) = list(batches.epoch()), list(batches.epoch())
    assert x.data_ptr() == again.data_ptr()
    assert batches.in_dim == (None if 1 not in which else Shared(2) if which == [0, 0, 1, 1] else 0)
    slices = [0, 1] if which == [0, 0, 1, 1] else which
    expected = torch.stack([kinds[i].y for i in slices]) if 1 in which else kinds[0].y
    assert torch.equal(y, expected)
    assert torch.equal(x[..., 0], expected.double())


def test_one_batch_of_all_rows_is_given_once() -> None:
    """A state taken behind it continues with the next epoch, one taken before with it."""
    batches, rest = (Batches(Rows([numbered(6)], CPU, torch.float64), [4], 1, None) for _ in range(2))
    for _ in batches.epoch():
        rest.load_state(batches.state())
        assert not list(rest.epoch())
    rest.load_state(batches.state())
    assert len(list(rest.epoch())) == 1


@pytest.mark.parametrize(("which", "in_dim"), [([0], None), ([0, 0, 0], None), ([0, 1], 0), ([1, 0, 1], 0)])
def test_each_member_gets_its_own_rows(which: Any, in_dim: Any) -> None:
    """take, chunks and y read the split of the member, shared or not; classes stay whole numbers."""
    kinds = [numbered(6), numbered(6, start=50)]
    rows = Rows([kinds[i] for i in which], CPU, torch.float64)
    assert rows.in_dim is in_dim
    index = torch.tensor([[1, 0], [5, 5], [3, 4]])[: len(which)]
    x, y, shares = rows.take(index)
    assert not shares
    assert torch.equal(y, index + 50 * torch.tensor(which)[:, None])
    assert torch.equal(x[..., 0], y.double())
    whole = torch.cat(list(rows.chunks(4)), dim=0 if in_dim is None else 1)
    expected = torch.stack([kinds[i].y for i in which])
    assert torch.equal(whole[..., 0].double(), (expected[0] if in_dim is None else expected).double())
    assert torch.equal(rows.y, expected[0] if in_dim is None else expected)
    assert rows.y.dtype == torch.int64


@pytest.mark.parametrize("num_batches", [1, 2])
def test_augmentation_is_seeded_per_member(num_batches: Any) -> None:
    """Each member's batch is augmented with its own generator, so it does not depend on the others."""

    def augment(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return x + torch.rand(x.shape, generator=generator)

    def first(*seeds: int) -> torch.Tensor:
        batches = Batches(
            Rows([numbered(9)] * len(seeds), CPU, torch.float64), seeds, num_batches, None, [augment] * len(seeds)
        )
        return torch.cat([x for x, _, _ in batches.epoch()], dim=1)

    both = first(1, 2)
    assert torch.equal(both[0], first(1)[0])
    assert torch.equal(both[1], first(2)[0])
