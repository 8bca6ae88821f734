"""The split into training, validation and test rows: disjoint, seeded, in the classes' proportions or whole groups."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from psilon_bench.errors import UsageError

Size = Annotated[int, Field(gt=0)] | Annotated[float, Field(gt=0, lt=1)]
RowNumbers = np.ndarray  # int64 row numbers
NAMES = ("train", "val", "test")


def resolve_sizes(
    rows: int, sizes: Sequence[Size | None], max_rows: int | None = None, names: Sequence[str] = NAMES
) -> list[int]:
    """Return how many rows each split gets.

    A size is a number of rows, a fraction of the rows in use (at most `max_rows`), or None; splits without a size share
    the remaining rows equally. Raises UsageError where the sizes do not fit, or where a split would be empty.
    """
    total = min(rows, max_rows or rows)
    counts = [0 if s is None else s if isinstance(s, int) else round(s * total) for s in sizes]
    rest = total - sum(counts)
    unset = [i for i, s in enumerate(sizes) if s is None]
    for place, i in enumerate(unset):
        counts[i] = max(rest, 0) // len(unset) + (place < max(rest, 0) % len(unset))
    if are_all_rows(sizes):  # such fractions can, rounded, miss a row or ask for one too many
        counts[-1] += rest
    _check_sizes(counts, sizes, total, names)
    return counts


def are_all_rows(sizes: Sequence[Size | None]) -> bool:
    """Tell whether the sizes are fractions that add up to 1."""
    return all(isinstance(size, float) for size in sizes) and abs(sum(map(float, filter(None, sizes))) - 1) < 1e-9


def _check_sizes(counts: list[int], sizes: Sequence[Size | None], total: int, names: Sequence[str]) -> None:
    """Raise UsageError where the counts exceed the rows, or where a split has none."""
    asked = ", ".join(
        f"{name}_size={'null' if size is None else size}" for name, size in zip(names, sizes, strict=True)
    )
    if sum(counts) > total:
        raise UsageError(
            f"The splits must fit into the {total} rows there are, but {asked} make {sum(counts)}. "
            "Ask for fewer rows or for fractions."
        )
    if min(counts) < 1:
        made = "/".join(map(str, counts))
        raise UsageError(
            f"Each split needs at least one row, but {asked} of {total} rows make {made}. Ask for other sizes."
        )


def split_rows(
    rows: int, counts: list[int], seed: int, labels: np.ndarray | None = None, groups: np.ndarray | None = None
) -> list[RowNumbers]:
    """Return the row numbers of each split, int64 (count,), in random order; rows beyond the counts are left out.

    With `labels` (rows,) every split has the classes' proportions; with `groups` (rows,) every group stays in one
    split, and the counts are met as nearly as whole groups allow. Raises UsageError where a split would get no group.
    """
    rng = np.random.default_rng(seed)
    if groups is not None:
        return _by_group(groups, counts, rng)
    if labels is not None:
        return _by_class(labels, counts, rng)
    order = rng.permutation(rows)
    return np.split(order, np.cumsum(counts))[: len(counts)]


def _by_class(labels: np.ndarray, counts: list[int], rng: np.random.Generator) -> list[RowNumbers]:
    """Return the row numbers of each split, in the proportions of the classes.

    Only rows in use are drawn: 100,000 of the 11 million rows of Higgs need no shuffle of all.
    """
    classes, left = np.unique(labels, return_counts=True)
    shares = []
    for place, count in enumerate(counts):
        shares.append(apportion(left, count, later=len(counts) - 1 - place))
        left = left - shares[-1]
    drawn = [
        np.split(rng.choice(np.flatnonzero(labels == c), sum(share), replace=False), np.cumsum(share)[:-1])
        for c, share in zip(classes, np.transpose(shares), strict=True)
    ]
    return [rng.permutation(np.concatenate(parts)) for parts in zip(*drawn, strict=True)]


def apportion(available: np.ndarray, count: int, later: int = 0) -> np.ndarray:
    """Return how many of `count` rows each class gives, in proportion to its available rows (largest remainder).

    Each class gives at least one row and keeps one for each of the `later` splits, as far as the numbers allow it.
    """
    quota = available * count / available.sum()
    low = np.minimum(1, available)
    high = np.maximum(available - later, low)
    if not low.sum() <= count <= high.sum():
        low, high = np.zeros_like(available), available
    share = np.clip(np.floor(quota).astype(np.int64), low, high)
    while share.sum() < count:
        share[np.argmax(np.where(share < high, quota - share, -np.inf))] += 1
    while share.sum() > count:
        share[np.argmin(np.where(share > low, quota - share, np.inf))] -= 1
    return share


def _by_group(groups: np.ndarray, counts: list[int], rng: np.random.Generator) -> list[RowNumbers]:
    """Return the row numbers of each split, made of whole groups in random order.

    A group goes to the split that the middle of its rows falls into.
    """
    _, group = np.unique(groups, return_inverse=True)
    size = np.bincount(group)
    order = rng.permutation(len(size))
    middle = np.empty(len(size))
    middle[order] = np.cumsum(size[order]) - size[order] / 2
    part = np.searchsorted(np.cumsum(counts), middle, side="right")[group]
    rows = [rng.permutation(np.flatnonzero(part == i)) for i in range(len(counts))]
    if min(map(len, rows)) == 0:
        made = "/".join(str(len(r)) for r in rows)
        raise UsageError(
            f"Each split needs at least one whole group, but {len(size)} groups make {made} rows. "
            "Set dataset.group to a finer column, or ask for larger splits."
        )
    return rows
