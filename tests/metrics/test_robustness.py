"""Certificates hold under attack and in float32, cheap ones lie below dear ones, fast ones are what is defined."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from reference import accuracies_of
from torch import nn

from psilon_bench.metrics.attack import withstands
from psilon_bench.metrics.certificate import margin
from psilon_bench.metrics.crown import boxes_of, crown_margins
from psilon_bench.metrics.exact_network import exact_network
from psilon_bench.metrics.pairwise import pairwise_margins, pairwise_radii
from psilon_bench.metrics.prediction import class_logits
from psilon_bench.metrics.robustness import certified_rows
from psilon_bench.models.crelu_resnet import CReLUResNet
from psilon_bench.models.factorized_mlp import FactorizedMLP
from psilon_bench.models.mlp import MLP

KINDS = ("pnet", "snet", "plain", "leaky", "factorized", "residual", "pnet tanh", "snet gelu")
LINEAR = KINDS[:6]


@pytest.fixture
def drawn(network: Any) -> Any:
    """drawn("residual", 4, 3): a network in float64 with random parameters, biases among them."""

    def drawn(kind: str, features: int, outputs: int, hidden: int = 6, depth: int = 2) -> Any:
        name, _, activation = kind.partition(" ")
        if name == "residual":
            model: Any = CReLUResNet(features, outputs, hidden, depth, 1, share=True).double()
        elif name == "factorized":
            model = FactorizedMLP(features, outputs, hidden, depth, "relu", "orthogonal").double()
        else:
            of_linear = "leaky_relu" if name == "leaky" else activation or "relu"
            return network("plain" if name == "leaky" else name, features, outputs, hidden, depth, of_linear)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(0.7 * torch.randn_like(parameter))
        return model

    return drawn


def corners(x: torch.Tensor, radius: float, number: int) -> torch.Tensor:
    """Points on the surface of each row's ball: (number, rows, inputs)."""
    return x + radius * torch.randn(number, *x.shape, dtype=x.dtype).sign()


@pytest.mark.parametrize("kind", KINDS)
def test_slope_layers_are_the_network(drawn: Any, kind: str) -> None:
    """Layer after layer where it is piecewise linear; each Jacobian lies below the product of the largest slopes."""
    model, x = drawn(kind, 4, 3), torch.randn(50, 4).double()
    net = exact_network(model, "multiclass")
    assert net.piecewise_linear == (kind in LINEAR)
    if net.piecewise_linear:
        h = x
        for layer in net.layers:
            h = layer.values(h)
        torch.testing.assert_close(h, model(x))
    steepest = torch.linalg.multi_dot([layer.steepest for layer in reversed(net.layers)])
    slopes = torch.func.vmap(torch.func.jacrev(lambda row: net.network(row[None])[0]))(x)
    assert (slopes.abs() <= steepest).all()
    assert net.input_bounds().sum() == pytest.approx(model.lipschitz_bound().item(), rel=1e-9) or kind == "factorized"


@pytest.mark.sampled(every=4)
@pytest.mark.parametrize("certificate", [pairwise_margins, crown_margins])
@pytest.mark.parametrize(
    ("kind", "outputs"),
    [
        *((kind, 3) for kind in KINDS),
        *(pytest.param(kind, 1, marks=[] if kind in ("pnet", "residual") else pytest.mark.slow) for kind in KINDS),
    ],
)
def test_no_point_of_the_ball_has_a_smaller_margin(drawn: Any, kind: str, certificate: Any, outputs: int) -> None:
    """At corners, at random points and where an attack ends; and the bound is no empty one."""
    if certificate is crown_margins and kind not in LINEAR:
        pytest.skip("crown is for piecewise linear networks")
    model = drawn(kind, 4, outputs)
    task: Any = "multiclass" if outputs > 1 else "binary"
    net, x = exact_network(model, task), torch.randn(20, 4).double()
    y = net.logits(x).argmax(dim=1)
    radius = pairwise_radii(net, x, y).median().item()
    lower = certificate(net, x, y, radius)
    points = [*corners(x, radius, 30), *(x + radius * (2 * torch.rand(20, 20, 4).double() - 1))]
    for k in range(lower.shape[1]):
        at = x.clone().requires_grad_()
        for _ in range(8):
            logits = net.logits(at)
            (slope,) = torch.autograd.grad((logits.gather(1, y[:, None])[:, 0] - logits[:, k]).sum(), at)
            at = (at.detach() - radius / 3 * slope.sign()).clamp(x - radius, x + radius).requires_grad_()
            points.append(at.detach())
    others = torch.nn.functional.one_hot(y, lower.shape[1]) == 0
    least = torch.full_like(lower, torch.inf)
    for point in points:
        logits = net.logits(point)
        least = torch.minimum(least, logits.gather(1, y[:, None]) - logits)
    assert (lower[others] <= least[others]).all()
    assert (lower[others] > 0).any()
    still = certificate(net, x, y, 0.0)[others]
    torch.testing.assert_close(still, (net.logits(x).gather(1, y[:, None]) - net.logits(x))[others], atol=1e-9, rtol=0)


def test_one_layer_is_certified_exactly() -> None:
    """Of a linear network both are |W_y - W_k|_1 radius, by hand."""
    model = MLP(2, 2, 1, 1, None, False, "relu", "orthogonal").double()
    model.layers = nn.ModuleList([nn.Linear(2, 2).double()])
    with torch.no_grad():
        model.layers[0].weight.copy_(torch.tensor([[1.0, 2.0], [-1.0, 5.0]]))
        model.layers[0].bias.copy_(torch.tensor([10.0, 0.0]))
    net, x, y = exact_network(model, "multiclass"), torch.tensor([[1.0, 1.0]]).double(), torch.tensor([0])
    for bound in (pairwise_margins, crown_margins):
        assert bound(net, x, y, 0.5)[0, 1].item() == pytest.approx(9 - 0.5 * 5, abs=1e-9)
    assert pairwise_radii(net, x, y).item() == pytest.approx(9 / 5)


def test_an_attack_finds_the_worst_corner() -> None:
    """Of a linear network, whose margin 9 - 5 radius is its certificate."""
    model = MLP(2, 2, 1, 1, None, False, "relu", "orthogonal").double()
    model.layers = nn.ModuleList([nn.Linear(2, 2).double()])
    with torch.no_grad():
        model.layers[0].weight.copy_(torch.tensor([[1.0, 2.0], [-1.0, 5.0]]))
        model.layers[0].bias.copy_(torch.tensor([10.0, 0.0]))
    net, x = exact_network(model, "multiclass"), torch.ones(2, 2).double()
    for radius, holds in ((1.79, True), (1.81, False)):
        assert withstands(net.logits, x, torch.tensor([0, 1]), radius, 5).tolist() == [holds, False]


def test_errors_of_all_layers_count_by_hand() -> None:
    """With z = x + 100, outputs 2 z and 0, and every value off by 0.1: 2 (x + 100 - radius - 0.1) - (0.1 + 0.1)."""
    model = MLP(1, 2, 1, 1, None, False, "relu", "orthogonal").double()
    with torch.no_grad():
        for layer, weight, bias in zip(model.layers, ([[1.0]], [[2.0], [0.0]]), ([100.0], [0.0, 0.0]), strict=True):
            layer.weight.copy_(torch.tensor(weight))
            layer.bias.copy_(torch.tensor(bias))
    net, x, y = exact_network(model, "multiclass"), torch.tensor([[3.0]]).double(), torch.tensor([0])
    rough = replace(net, layers=[replace(layer, absolute=torch.full_like(layer.absolute, 0.1)) for layer in net.layers])
    for bound in (pairwise_margins, crown_margins):
        assert bound(rough, x, y, 0.5)[0, 1].item() == pytest.approx(2 * (103 - 0.5 - 0.1) - 0.2, abs=1e-9)


def slow_crown(net: Any, x: torch.Tensor, radius: float, direction: torch.Tensor) -> float:
    """The lower bound of direction . z of one row, unit by unit in Python, straight from the definition."""
    layers = [layer.slopes for layer in net.layers]
    boxes: list[list[tuple[float, float]]] = []

    def bound(depth: int, functions: list[float]) -> float:
        """Of sum_i functions_i z_depth,i, from layer `depth` back to the inputs."""
        constant = 0.0
        for k in reversed(range(depth + 1)):
            own = layers[k]
            constant += sum(f * own.bias[i].item() for i, f in enumerate(functions))
            plus = [
                sum(f * own.positive[i, j].item() for i, f in enumerate(functions))
                for j in range(own.positive.shape[1])
            ]
            minus = [
                sum(f * own.negative[i, j].item() for i, f in enumerate(functions))
                for j in range(own.positive.shape[1])
            ]
            if k == 0:
                return constant + sum(p * x[j].item() - abs(p) * radius for j, p in enumerate(plus))
            functions = []
            for (lower, upper), p, n in zip(boxes[k - 1], plus, minus, strict=True):
                if lower >= 0 or (upper > 0 and p >= n and upper >= -lower):
                    functions.append(p)
                elif upper <= 0 or p >= n:
                    functions.append(n)
                else:
                    slope = (p * upper - n * lower) / (upper - lower)
                    functions.append(slope)
                    constant += p * upper - slope * upper
        raise AssertionError

    for k in range(len(layers) - 1):
        units = torch.eye(len(layers[k].bias)).tolist()
        box = [(bound(k, unit), -bound(k, [-u for u in unit])) for unit in units]
        reach, h = net.reach[k + 1], x[None]
        for layer in net.layers[: k + 1]:
            h = layer.values(h)
        near = [(v - radius * r, v + radius * r) for v, r in zip(h[0].tolist(), reach.tolist(), strict=True)]
        boxes.append([(max(a, c), min(b, d)) for (a, b), (c, d) in zip(box, near, strict=True)])
    return bound(len(layers) - 1, direction.tolist())


@pytest.mark.sampled(every=3)
@pytest.mark.parametrize("kind", LINEAR)
def test_crown_is_its_slow_definition(drawn: Any, kind: str) -> None:
    """Each margin to 1e-9."""
    model, x = drawn(kind, 3, 3, hidden=4, depth=3), torch.randn(5, 3).double()
    net = exact_network(model, "multiclass")
    y = torch.tensor([0, 1, 2, 0, 1])
    fast = crown_margins(net, x, y, 0.3)
    for row, one in enumerate(y.tolist()):
        for k in {0, 1, 2} - {one}:
            direction = torch.zeros(3)
            direction[one], direction[k] = 1, -1
            assert fast[row, k].item() == pytest.approx(slow_crown(net, x[row], 0.3, direction), abs=1e-9)


@pytest.mark.parametrize("kind", LINEAR)
def test_boxes_hold_the_values_of_all_layers(drawn: Any, kind: str) -> None:
    """As evaluated at corners and inside."""
    net, x = exact_network(drawn(kind, 4, 2, depth=3), "multiclass"), torch.randn(20, 4).double()
    boxes = boxes_of(net, x, 0.2, net.layers)
    for h in corners(x, 0.2, 40):
        for box, layer in zip(boxes[1:], net.layers, strict=True):
            h = layer.values(h)
            assert (box.lower <= h).all()
            assert (h <= box.upper).all()


@pytest.mark.sampled(every=3)
@pytest.mark.parametrize("kind", KINDS)
def test_the_ladder_ascends(drawn: Any, kind: str) -> None:
    """Bound of all logits <= pairwise <= crown <= attack, row for row, at radii where they differ."""
    model, x = drawn(kind, 4, 4), torch.randn(60, 4).double()
    net, y = exact_network(model, "multiclass"), model(x).argmax(dim=1)
    y[:5] = (y[:5] + 1) % 4  # some rows are wrong
    of_all, bound = margin("multiclass", model(x), y), model.lipschitz_bound()
    median = (of_all / bound)[5:].median().item()
    assert certified_rows(net, x, y, median, "pairwise").sum() > (of_all > bound * median).sum()
    for radius in (median / 3, median, 3 * median, 10 * median):
        rows = [of_all > bound * radius, certified_rows(net, x, y, radius, "pairwise")]
        rows += [certified_rows(net, x, y, radius, "crown")] if net.piecewise_linear else []
        rows.append(withstands(net.logits, x, y, radius, 8))
        for below, above in itertools.pairwise(rows):
            assert not (below & ~above).any()
        scores = accuracies_of(net, x, y, [radius], "pairwise", 8)
        assert scores[f"attacked_accuracy/{radius:g}"] == rows[-1].double().mean()
        assert not rows[-1][:5].any()


def test_weights_of_rows_count(drawn: Any) -> None:
    """A row of weight 2 counts like two equal rows, one of weight 0 not at all."""
    net, x = exact_network(drawn("pnet", 4, 3), "multiclass"), torch.randn(30, 4).double()
    y, weights = torch.arange(30) % 3, torch.arange(30) % 3
    twice = torch.repeat_interleave(torch.arange(30), weights)
    weighted = accuracies_of(net, x, y, [0.01], "pairwise", 3, weights / weights.sum())
    repeated = accuracies_of(net, x[twice], y[twice], [0.01], "pairwise", 3)
    assert weighted.keys() == repeated.keys() == {"certified_accuracy/0.01", "attacked_accuracy/0.01"}
    assert all(weighted[name].item() == pytest.approx(repeated[name].item()) for name in weighted)


@pytest.mark.sampled(every=3)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_certified_holds_in_float32(drawn: Any, kind: str) -> None:
    """At points where two logits are equal but for rounding, float32 decides as certified, and often otherwise."""
    otherwise, certified = 0, 0
    otherwise, certified = 0, 0
    for seed in range(2):
        torch.manual_seed(seed)
        single = drawn(kind, 30, 2, hidden=20, depth=3).float()
        low, high = torch.randn(2, 400, 30).double()
        (bias,) = [parameter for name, parameter in single.named_parameters() if name.endswith("bias")][-1:]
        with torch.no_grad():
            bias.sub_(single(low.float()).median(dim=0).values)  # half of the rows are of each class
        net = exact_network(single, "multiclass")
        for _ in range(30):  # bisect from one class to the other
            moves = (net.logits(middle := (low + high) / 2).argmax(dim=1) == net.logits(low).argmax(dim=1))[:, None]
            low, high = torch.where(moves, middle, low), torch.where(moves, high, middle)
        x = (low + 10 ** -(8 * torch.rand(400, 1)) * torch.randn(400, 30)).float()
        y = net.logits(x.double()).argmax(dim=1)
        right = single(x).argmax(dim=1) == y
        held = certified_rows(net, x.double(), y, 0.0, "crown" if net.piecewise_linear else "pairwise")
        assert right[held].all()
        otherwise, certified = otherwise + int((~right).sum()), certified + int(held.sum())
    assert otherwise > 0
    assert certified > 150


@pytest.mark.parametrize("certificate", ["pairwise", "crown"])
def test_a_bound_that_is_attained_holds_in_float32(network: Any, certificate: Any) -> None:
    """With positive weights and units that are all active the worst corner is known: there float32 keeps the class."""
    close = 0
    for seed in range(3):
        torch.manual_seed(seed)
        single = network("plain", 30, 1, hidden=20, depth=3).float()
        with torch.no_grad():
            for layer in single.layers:
                layer.weight.abs_()
                layer.bias.add_(100 * layer.weight.sum(dim=1))
            x = torch.randn(20, 30).mul(2**10).round() / 2**10  # so that float32 has x - radius as it is
            single.layers[-1].bias.sub_(single(x).median())
            net, y = exact_network(single, "binary"), (single(x) > 0).flatten().long()
            radii = pairwise_radii(net, x.double(), y)
            for row in range(20):
                radius = int(radii[row] * 2**10) / 2**10
                if certified_rows(net, x[row : row + 1].double(), y[row : row + 1], radius, certificate)[0]:
                    worst = x[row] + radius * (1 - 2 * y[row])
                    assert (single(worst[None]) > 0).item() == bool(y[row])
                    close += 1
    assert close > 40


def test_two_logits_of_one_class_task_are_those_of_two(drawn: Any) -> None:
    """A binary network is certified as one whose class 0 has the logit 0."""
    model, x = drawn("pnet", 4, 1), torch.randn(40, 4).double()
    net, y = exact_network(model, "binary"), (torch.randn(40) > 0).long()
    torch.testing.assert_close(net.logits(x), class_logits("binary", model(x)))
    expected = margin("binary", model(x), y[:, None].double()) > model.lipschitz_bound() * 0.05
    assert torch.equal(certified_rows(net, x, y, 0.05, "pairwise"), expected)
