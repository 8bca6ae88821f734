"""Attacks random networks at the radii that they are certified for, in float32: python scripts/soundness_figures.py

For each of the networks, of four kinds with random sizes, scales, biases and activation of units, the rows that a
certificate holds for are attacked from within the ball: at its corners, at random points and by gradient descent on the
margin. A pair is a certified row and a point of its ball that float32 evaluates; a violation is one that it puts into
another class. Prints the numbers of both for each kind and certificate.
"""

import argparse
from collections import Counter
from typing import Any

import torch
from torch import Tensor

from psilon_bench.metrics.certificate import margin
from psilon_bench.metrics.exact_network import exact_network
from psilon_bench.metrics.pairwise import pairwise_radii
from psilon_bench.metrics.robustness import certified_rows
from psilon_bench.models.crelu_resnet import CReLUResNet
from psilon_bench.models.mlp import MLP

KINDS = ("plain", "pnet", "snet", "residual")
ROWS = 60


def main() -> None:
    """Parse, attack, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--networks", type=int, default=300, help="random networks in all")
    parser.add_argument("--pairs", type=int, default=1_000_000, help="attacked pairs in all, at least")
    given = parser.parse_args()
    pairs, violations = attacked(given.networks, given.pairs)
    for key in sorted(pairs):
        print(f"{' '.join(key)}: {violations[key]} violations in {pairs[key]} pairs")
    print(f"all: {sum(violations.values())} violations in {sum(pairs.values())} pairs of {given.networks} networks")


def attacked(networks: int, pairs: int) -> tuple[Counter[tuple[str, str]], Counter[tuple[str, str]]]:
    """Return how many pairs were attacked and violated, by kind of network and certificate."""
    tried, broken = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    rounds = max(1, -(-pairs // (networks * ROWS)))  # half of the rows are certified, by each of two certificates
    for seed in range(networks):
        torch.manual_seed(seed)
        kind = KINDS[seed % len(KINDS)]
        model, x = drawn(kind), torch.randn(ROWS, 8)
        net, y = exact_network(model, "multiclass"), model(x).argmax(dim=1)
        radius = float(pairwise_radii(net, x.double(), y).median())
        for certificate in ("pairwise", "crown"):
            held = certified_rows(net, x.double(), y, radius, certificate)
            for points in points_of(model, x[held], y[held], radius, rounds):
                tried[kind, certificate] += len(points)
                broken[kind, certificate] += int((model(points).argmax(dim=1) != y[held]).sum())
    return tried, broken


def drawn(kind: str) -> Any:
    """Return a network of 8 inputs and 3 classes in float32, with parameters of a random scale."""
    hidden, depth = (int(torch.randint(low, high, ())) for low, high in ((3, 24), (1, 5)))
    if kind == "residual":
        model: Any = CReLUResNet(8, 3, hidden, depth, 1, True)
    else:
        q: Any = {"pnet": 1, "snet": 2}.get(kind)
        activation: Any = "leaky_relu" if torch.rand(()) < 0.3 else "relu"
        model = MLP(8, 3, hidden, depth, q, kind == "pnet", activation, "orthogonal")
    scale = 10 ** (torch.rand(()) - 0.5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(scale * torch.randn_like(parameter))
    return model.eval().requires_grad_(False)


def points_of(model: Any, x: Tensor, y: Tensor, radius: float, rounds: int) -> list[Tensor]:
    """Return points (rows, inputs) of each row's ball: the ends of descents, corners and points inside."""
    points, here = [], x
    for number in range(rounds if len(x) else 0):
        if number % 3 == 0:
            at = here.clone().requires_grad_()
            (slope,) = torch.autograd.grad(margin("multiclass", model(at), y).sum(), at)
            here = inside(here - radius * (0.5 if number % 2 else 2.0) * slope.sign(), x, radius)
            points.append(here)
        else:
            step = torch.randn_like(x).sign() if number % 3 == 1 else 2 * torch.rand_like(x) - 1
            points.append(inside(x + radius * step, x, radius))
    return points


def inside(points: Tensor, x: Tensor, radius: float) -> Tensor:
    """Return points of float32 in the ball of exact numbers around x, whose ends float32 may round outward."""
    low, high = (x.double() - radius), (x.double() + radius)
    rounded = points.double().clamp(low, high).float()
    rounded = torch.where(rounded.double() > high, torch.nextafter(rounded, torch.full_like(x, -torch.inf)), rounded)
    return torch.where(rounded.double() < low, torch.nextafter(rounded, torch.full_like(x, torch.inf)), rounded)


if __name__ == "__main__":
    main()
