r"""Weights as products: w_g = omega_g gamma_1g ... gamma_(D-1)g for groups g of the entries of a weight.

With L2 decay of all factors, lam / D (||omega_g||^2 + sum_d gamma_dg^2), this is the penalty lam ||w_g||^(2/D): by the
inequality of the means the decay is never below it, and equal to it where ||omega_g|| = |gamma_1g| = ... (balanced). So
both objectives have the same minima, and this one is differentiable. Along the gradient flow the differences of two
||.||^2 of a group fall as exp(-4 lam t / D), whatever the loss. Groups of single weights are deep weight factorisation
(Kolb et al., ICLR 2025, arXiv 2502.02496), larger ones D-Gating (Kolb et al., NeurIPS 2025).
"""

import copy
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils import parametrize

Weight = Float[Tensor, "unit fan_in *kernel"]
Grouping = Literal["entries", "rows", "columns", "inputs"]


class GatedWeight(nn.Module):
    """A parametrisation of a weight (unit, fan_in, ...) by omega, of its shape, and `factors` - 1 gates of each group.

    Groups are single entries, rows, columns, or the columns of inputs that belong together: `members`, (fan_in,), has
    for each input the place of the first one of its group. The gates of groups (fan_in,) that there are not are 0.
    """

    members: Int[Tensor, " fan_in"]

    def __init__(self, factors: int, grouping: Grouping, members: Int[Tensor, " fan_in"]) -> None:
        super().__init__()
        self.factors, self.grouping = factors, grouping
        self.register_buffer("members", members, persistent=False)

    def norms(self, weight: Weight) -> Float[Tensor, "*group"]:
        """Return the 2-norm of each group, in the shape of a gate; the gradient at 0 is 0."""
        if self.grouping == "entries":
            return weight.abs()
        squares = weight.square()
        if self.grouping == "rows":
            return root(squares.flatten(1).sum(dim=1))
        squares = squares.transpose(0, 1).flatten(1).sum(dim=1)
        return root(squares if self.grouping == "columns" else grouped_sums(squares, self.members))

    def spread(self, gate: Float[Tensor, "*group"], weight: Weight) -> Float[Tensor, "..."]:
        """Return the gates as factors of the entries of the weight."""
        if self.grouping == "entries":
            return gate
        if self.grouping == "inputs":
            gate = gate[self.members]
        shape = [1] * weight.dim()
        shape[0 if self.grouping == "rows" else 1] = -1
        return gate.view(shape)

    def forward(self, omega: Weight, *gates: Float[Tensor, "*group"]) -> Weight:
        """Return the weight."""
        for gate in gates:
            omega = omega * self.spread(gate, omega)
        return omega

    def right_inverse(self, weight: Weight) -> tuple[Float[Tensor, "..."], ...]:
        """Return factors of this weight: all gates are alike, of the root mean square of the ||omega_g||.

        Factors drawn one by one have products with far smaller variance, which collapse to 0 for D = 4; these have
        exactly the weight that the network starts with. Factors that are balanced at the start would be no choice
        either: a weight that is +-|gamma|^D cannot change its sign.
        """
        norms = self.norms(weight)
        there = torch.ones_like(norms)
        if self.grouping == "inputs":
            there = grouped_sums(there, self.members).clamp_max(1)
        size = (norms.square().sum() / there.sum()) ** (0.5 / self.factors)
        size = torch.where(size > 0, size, 1)
        return weight / size ** (self.factors - 1), *(size * there for _ in range(self.factors - 1))


def root(squares: Float[Tensor, " group"]) -> Float[Tensor, " group"]:
    """Return square roots; the gradient at 0 is 0."""
    return torch.where(squares > 0, squares, 1).sqrt() * (squares > 0)


def grouped_sums(values: Float[Tensor, " fan_in"], members: Int[Tensor, " fan_in"]) -> Float[Tensor, " fan_in"]:
    """Return the sum of each group at the place of its first input, and 0 elsewhere."""
    return torch.zeros_like(values).index_add(0, members, values)


def members_of(columns: Sequence[str]) -> Int[Tensor, " fan_in"]:
    """Return for each input the place of the first one that is made of the same column."""
    first: dict[str, int] = {}
    return torch.tensor([first.setdefault(column, place) for place, column in enumerate(columns)])


def gate(module: nn.Module, name: str, factors: int, grouping: Grouping, members: Int[Tensor, " fan_in"]) -> None:
    """Put factors in the place of a weight of a module, which goes on to have their product under its name."""
    gates = GatedWeight(factors, grouping, members.to(getattr(module, name).device))
    parametrize.register_parametrization(module, name, gates)


def gated_weights(model: nn.Module) -> Iterator[tuple[str, GatedWeight, list[Tensor]]]:
    """Yield the name, the gates and the factors of each weight that is a product."""
    for place, module in model.named_modules():
        if parametrize.is_parametrized(module):
            for name, found in module.parametrizations.items():
                if isinstance(found[0], GatedWeight):
                    factors = [getattr(found, f"original{k}") for k in range(found.ntensors)]
                    yield f"{place}.{name}".lstrip("."), found[0], factors


def decay(model: nn.Module) -> Float[Tensor, ""]:
    """Return the sum of the squares of all factors, over D."""
    return torch.stack([x.square().sum() / gates.factors for _, gates, own in gated_weights(model) for x in own]).sum()


@torch.no_grad()
def collapsed(network: nn.Module, model: nn.Module, threshold: float) -> nn.Module:
    """Return the model with the products of a network as weights; groups of a 2-norm up to `threshold` are 0."""
    state = {key: value for key, value in network.state_dict().items() if "parametrizations." not in key}
    for name, gates, factors in gated_weights(network):
        weight = gates(*factors)
        keep = (gates.norms(weight) > threshold).to(weight.dtype)
        state[name] = weight * gates.spread(keep, weight)
    plain = copy.deepcopy(model)
    plain.load_state_dict(state)
    return plain
