"""CReLU residual networks: the layer against its formula, three bounds against paths, Jacobians and input pairs."""

import itertools
from collections.abc import Callable
from typing import Literal

import pytest
import torch
from torch import Tensor
from torch.func import jacrev, vmap

from psilon_bench.metrics.lipschitz import jacobians, spectral_norm
from psilon_bench.models.crelu_resnet import CReLULinear, CReLUResNet, parts
from psilon_bench.models.mlp import MLP

KINDS: list[tuple[Literal[1, 2], bool]] = [(1, True), (1, False), (2, True), (2, False)]


def random_net(
    q: Literal[1, 2], share: bool, seed: int = 0, depth: int = 3, outputs: int = 2, near: float = 0.0
) -> CReLUResNet:
    """A small net in float64 with random weights, lengths of both signs, a dead row; `near` pulls W+- to -I."""
    torch.manual_seed(seed)
    net = CReLUResNet(3, outputs, hidden=4, depth=depth, normalization=q, share=share).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn_like(parameter))
        for block in net.blocks:
            block.v[:, :4] -= near * torch.eye(4)
            block.v[:, 4:] -= near * torch.eye(4)
        net.blocks[0].v[1] = 0
    return net


def slow_forward(net: CReLUResNet, x: Tensor) -> Tensor:
    """The formulas of the paper, W+ and W- built."""
    h = x @ net.first.weight.T + net.first.bias
    for layer in [*net.blocks, net.last]:
        plus, minus = parts(layer)
        z = h.relu() @ plus.T - (-h).relu() @ minus.T + layer.bias
        h = z if layer is net.last else h + z
    return h


def all_paths(net: CReLUResNet) -> float:
    """Sum over every path of the net as drawn: a node for relu(h_j), one for relu(-h_j), skips added to the weights."""
    total = 0.0
    first = net.first.weight.tolist()
    layers = [(layer is not net.last, [part.tolist() for part in parts(layer)]) for layer in [*net.blocks, net.last]]
    widths = [net.first.weight.shape[1], *[4] * (1 + len(net.blocks)), net.last.weight.shape[0]]
    for path in itertools.product(*(range(width) for width in widths)):
        for signs in itertools.product((0, 1), repeat=len(net.blocks) + 1):
            weight = abs(first[path[1]][path[0]])
            for k, (skips, matrices) in enumerate(layers):
                skip = skips and path[k + 2] == path[k + 1]
                weight *= abs(matrices[signs[k]][path[k + 2]][path[k + 1]] + skip)
            total += weight
    return total


@pytest.mark.parametrize(("q", "share"), KINDS)
def test_forward_is_the_formula(q: Literal[1, 2], share: bool) -> None:
    """One product with [relu(h), min(h, 0)] equals W+ relu(h) - W- relu(-h)."""
    net = random_net(q, share)
    x = torch.randn(7, 3, dtype=torch.float64)
    torch.testing.assert_close(net(x), slow_forward(net, x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("q", "share"), KINDS)
def test_rows_of_the_maximum_have_the_length(q: Literal[1, 2], share: bool) -> None:
    """The q-norm of row j of max(|W+|, |W-|) is |g_j|, and no scale of v_j changes the layer."""
    layer = random_net(q, share).blocks[1]
    plus, minus = parts(layer)
    norms = torch.linalg.vector_norm(torch.maximum(plus.abs(), minus.abs()), q, dim=1)
    torch.testing.assert_close(norms, layer.g.abs().expand(4))
    h = torch.randn(5, 4, dtype=torch.float64)
    before = layer(h)
    with torch.no_grad():
        layer.v.mul_(torch.tensor([[0.3], [2.0], [7.0], [1e-3]]))
    torch.testing.assert_close(layer(h), before)


def test_start_is_the_identity() -> None:
    """g = 0 in the blocks and W+ = W- elsewhere: the net at its start is linear, W_K (W_1 x)."""
    torch.manual_seed(0)
    net = CReLUResNet(3, 2, hidden=4, depth=5, normalization=1, share=True).double()
    x = torch.randn(6, 3, dtype=torch.float64)
    plus, minus = parts(net.last)
    torch.testing.assert_close(plus, minus)
    torch.testing.assert_close(net(x), x @ net.first.weight.T @ plus.T)


def test_closed_form_is_the_product() -> None:
    """|g_1| prod (1 + |g_k|) sum_j |g_K,j| equals 1^T W~_K prod (I + W~_k) |W_1| 1, where every row has a direction."""
    net = random_net(1, share=True, depth=4)
    with torch.no_grad():
        net.blocks[0].v[1] = 1.0
    closed = net.path_norm("improved")
    net.share = False  # the explicit product
    torch.testing.assert_close(closed, net.path_norm("improved"), rtol=1e-12, atol=0)


@pytest.mark.parametrize(("q", "share"), KINDS)
def test_original_bound_sums_all_paths(q: Literal[1, 2], share: bool) -> None:
    """Brute force over the net as drawn."""
    net = random_net(q, share)
    assert net.path_norm("original").item() == pytest.approx(all_paths(net), rel=1e-12)


@pytest.mark.parametrize("near", [0.0, 8.0])
@pytest.mark.parametrize(("q", "share"), KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_every_bound_bounds(q: Literal[1, 2], share: bool, seed: int, near: float) -> None:
    """Each bound is above the slope between any two inputs and above the Jacobian's norm (L_inf to L1) at any point."""
    net = random_net(q, share, seed, near=near)
    x, y = torch.randn(2, 500, 3, dtype=torch.float64) * 3
    slope = ((net(x) - net(y)).abs().sum(1) / (x - y).abs().amax(1)).max()
    jacobians = vmap(jacrev(lambda row: net(row[None])[0]))(x)
    corners = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=3)), dtype=torch.float64)
    norm = (jacobians @ corners.T).abs().sum(1).max()  # the L_inf to L1 norm is reached at a corner
    for bound in net.bounds:
        assert net.path_norm(bound) >= slope * (1 - 1e-12)
        assert net.path_norm(bound) >= norm * (1 - 1e-12)


@pytest.mark.parametrize("near", [0.0, 8.0])
@pytest.mark.parametrize("seed", range(6))
def test_tight_is_below_both(seed: int, near: float) -> None:
    """The tight bound is never above the others."""
    net = random_net(1, share=False, seed=seed, near=near)
    tight = net.path_norm("tight")
    assert tight <= net.path_norm("improved") * (1 + 1e-12)
    assert tight <= net.path_norm("original") * (1 + 1e-12)
    torch.testing.assert_close(net.lipschitz_bound(), tight)


def test_neither_of_the_papers_bounds_is_always_below() -> None:
    """Blocks near -I make the original the smaller one; a random net the improved."""
    net = random_net(1, share=True)
    with torch.no_grad():
        for block in net.blocks:
            block.v.copy_(-torch.eye(4, dtype=torch.float64).repeat(1, 2))
            block.g.fill_(1.0)
    assert net.path_norm("original") < net.path_norm("improved")
    other = random_net(1, share=True, seed=3)
    assert other.path_norm("improved") < other.path_norm("original")


@pytest.mark.parametrize("outputs", [1, 3])
def test_local_lipschitz_is_the_norm_of_the_jacobian(outputs: int, network: Callable[..., MLP]) -> None:
    """Against autograd, row by row; and for a linear layer it is the layer's spectral norm."""
    net = random_net(1, share=True, outputs=outputs)
    x = torch.randn(4, 3, dtype=torch.float64)
    rows = [torch.autograd.functional.jacobian(lambda r: net(r[None])[0], row) for row in x]
    expected = torch.stack([torch.linalg.matrix_norm(row, ord=2) for row in rows])
    torch.testing.assert_close(spectral_norm(jacobians(net, x)), expected)
    relu = network("pnet", 3, outputs)
    assert (spectral_norm(jacobians(relu, x)) <= relu.lipschitz_bound() * 3**0.5).all()


def test_power_sum_counts_both_parts() -> None:
    """The sum over W+ and W-, also for p = q."""
    layer = random_net(1, share=True).last
    assert isinstance(layer, CReLULinear)
    for p in (1.0, 2.0):
        torch.testing.assert_close(layer.power_sum(p), layer.weight.abs().pow(p).sum())


def test_local_lipschitz_of_a_diverged_network_is_nan() -> None:
    """It is told as NaN, not raised."""
    net = random_net(1, share=True)
    with torch.no_grad():
        net.first.g.fill_(torch.inf)
    assert spectral_norm(jacobians(net, torch.randn(3, 3, dtype=torch.float64))).isnan().all()


@pytest.mark.parametrize(
    ("q", "share"), [KINDS[0], *(pytest.param(*kind, marks=pytest.mark.slow) for kind in KINDS[1:3]), KINDS[3]]
)
def test_the_bounds_hold_for_trained_nets(q: Literal[1, 2], share: bool) -> None:
    """After training from its own start, every bound is above input pairs and Jacobians; tight is below the others."""
    torch.manual_seed(3)
    net = CReLUResNet(3, 2, hidden=8, depth=4, normalization=q, share=share).double()
    x = torch.randn(64, 3).double()
    y = torch.stack([x[:, 0].sin() * x[:, 1], x.abs().amax(dim=1)], dim=1)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    first: float | None = None
    for _ in range(150):
        optimizer.zero_grad()
        loss = (net(x) - y).square().mean()
        first = first or loss.item()
        (loss + 1e-4 * net.path_norm()).backward()
        optimizer.step()
    assert first is not None
    assert loss.item() < first / 3
    points, others = torch.randn(2, 500, 3).double()
    slopes = (net(points) - net(others)).abs().sum(dim=1) / (points - others).abs().amax(dim=1)
    entries = jacobians(net, points).abs().sum(dim=(1, 2))
    for bound in ("improved", "original", "tight"):
        assert net.path_norm(bound) >= slopes.max() * (1 - 1e-12)
        assert net.path_norm(bound) >= entries.max() * (1 - 1e-12)
    assert net.lipschitz_bound() <= min(net.path_norm("improved"), net.path_norm("original")) * (1 + 1e-12)
