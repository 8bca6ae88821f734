"""The trees that prove bounds over activation patterns."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np


def halves(fixed: np.ndarray, place: int, inputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what is fixed (place,) at the children of a node that splits this place; the first `inputs` are inputs."""
    first, second = fixed.copy(), fixed.copy()
    first[place], second[place] = -1 if place < inputs else 0, 1
    return first, second


@dataclass
class Tree:
    """A binary tree of nodes by number: `split` has the place that each splits, None for a leaf.

    Places are inputs, then units. The first child of a split has -1 for an input and 0 for a unit, the second has 1.
    `proofs` has what bounds a node, as the checker reads it, None where its own linear bounds are enough.
    """

    split: list[int | None] = field(default_factory=lambda: [None])
    children: list[tuple[int, int] | None] = field(default_factory=lambda: [None])
    proofs: list[Any] = field(default_factory=lambda: [None])

    def grow(self, node: int, place: int) -> tuple[int, int]:
        """Split a leaf, and return its children."""
        first = len(self.split)
        self.split[node], self.children[node] = place, (first, first + 1)
        self.split += [None, None]
        self.children += [None, None]
        self.proofs += [None, None]
        return first, first + 1

    def order(self) -> list[int]:
        """Return the nodes in preorder: a node, then its first child and all below that, then its second child."""
        found, left = list[int](), [0]
        while left:
            found.append(left.pop())
            if (children := self.children[found[-1]]) is not None:
                left += [children[1], children[0]]
        return found

    def preorder(self) -> list[int | None]:
        """Return what each node splits, in preorder."""
        return [self.split[node] for node in self.order()]

    def leaf_proofs(self) -> list[Any]:
        """Return the proofs of the leaves, in preorder."""
        return [self.proofs[node] for node in self.order() if self.split[node] is None]
