"""Branch and bound decides: what it certifies no corner breaks, what it breaks is broken, and it certifies the most."""

import math
import time
from typing import Any

import pytest
import torch
from reference import accuracies_of

from psilon_bench.metrics.branch_and_bound import Problem, best_bounds, row_of, solved_leaf, verdict
from psilon_bench.metrics.crown import boxes_of, crown_margins
from psilon_bench.metrics.exact_network import exact_network
from psilon_bench.metrics.pairwise import pairwise_radii
from psilon_bench.metrics.robustness import certified_rows
from psilon_bench.models.crelu_resnet import CReLUResNet

KINDS = ("pnet", "plain", "leaky", "residual")


def built(network: Any, kind: str, seed: int) -> Any:
    torch.manual_seed(seed)
    if kind != "residual":
        name = "plain" if kind == "leaky" else kind
        return network(name, 2, 3, hidden=5, depth=2, activation="leaky_relu" if kind == "leaky" else "relu")
    model = CReLUResNet(2, 3, 5, 2, 1, share=True).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return model


@pytest.mark.sampled(every=2)
@pytest.mark.parametrize("kind", KINDS)
def test_all_rows_are_decided_as_a_fine_grid_has_it(network: Any, kind: str) -> None:
    """Of two inputs: certified rows keep their class at 40 x 40 points, broken ones do not; crown leaves some open."""
    steps = torch.linspace(-1, 1, 40).double()
    grid, opened, seen = torch.cartesian_prod(steps, steps), 0, set()
    for seed in range(2):
        net = exact_network(built(network, kind, seed), "multiclass")
        x = torch.randn(60, 2).double()
        y = net.logits(x).argmax(dim=1)
        median = pairwise_radii(net, x, y).median().item()
        for radius in (1.5 * median, 3 * median):
            crown = certified_rows(net, x, y, radius, "crown")
            opened += int((~crown).sum())
            for row in (~crown).nonzero().squeeze(1).tolist()[:3]:
                logits = net.logits(x[row] + radius * grid)
                margins = (logits[:, y[row], None] - logits).amin(dim=0)
                for other in set(range(3)) - {int(y[row])}:
                    found = verdict(net, x[row], int(y[row]), other, radius, math.inf)
                    seen.add(found)
                    assert found in ("certified", "broken")
                    assert found == "broken" if margins[other] <= 0 else margins[other] > -1e-9
                    if found == "broken":
                        assert margins[other] < 0.2 * margins.abs().max() + 0.1
    assert opened > 5
    assert seen == {"certified", "broken"}


@pytest.mark.sampled(every=2)
@pytest.mark.parametrize("kind", KINDS)
def test_nodes_are_bounded_below_all_their_points(network: Any, kind: str) -> None:
    """Of each node the bound is below the margin at random points that have its signs, and the root's near CROWN's."""
    net = exact_network(built(network, kind, 3), "multiclass")
    x, y, radius = torch.randn(1, 2).double(), torch.tensor([0]), 0.6
    boxes = boxes_of(net, x, radius, net.layers[:-1])
    problem = Problem(row_of(net.less_others(0), 1), net.layers[:-1], boxes, x[0], radius)
    root, _ = best_bounds(problem, problem.signs())
    assert root.item() >= crown_margins(net, x, y, radius)[0, 1].item() - 0.2 * abs(root.item())
    points = x + radius * (2 * torch.rand(4000, 2).double() - 1)
    values, h = [], points
    for layer in net.layers[:-1]:
        h = layer.values(h)
        values.append(h)
    margins = net.logits(points)[:, 0] - net.logits(points)[:, 1]
    patterns = torch.cat(values, dim=1).sign()
    sizes = [value.shape[1] for value in values]
    for pattern in patterns[:12]:
        for kept in (torch.rand(len(pattern)) < 0.5, torch.ones(len(pattern), dtype=torch.bool)):
            signs = list((pattern * kept)[None].split(sizes, dim=1))
            inside = (patterns == pattern)[:, kept].all(dim=1)
            lower, _ = best_bounds(problem, signs)
            assert (lower.item() <= margins[inside]).all()
            if kept.all():
                bound, point = solved_leaf(problem, signs, 1e3)
                assert lower.item() - 1e-6 <= bound <= margins[inside].min().item()
                assert ((point - x[0]).abs() <= radius + 1e-12).all()


def test_the_rung_is_above_crown_and_below_the_attack(network: Any) -> None:
    """What it leaves open is counted: all that crown leaves without time, nothing with enough."""
    net = exact_network(network("plain", 4, 3, hidden=7, depth=2), "multiclass")
    x = torch.randn(40, 4).double()
    y = net.logits(x).argmax(dim=1)
    y[0] = (y[0] + 1) % 3
    names = [f"{name}/0.3" for name in ("certified_accuracy", "attacked_accuracy", "num_undecided")]
    crown = accuracies_of(net, x, y, [0.3], "crown", 5)
    whole, hurried = (accuracies_of(net, x, y, [0.3], "exact", 5, None, seconds) for seconds in (60.0, 1e-9))
    assert [whole[name].item() for name in names[:2]] == [whole[names[0]].item()] * 2
    assert crown[names[0]] < whole[names[0]] <= crown[names[1]]
    assert whole[names[2]] == 0
    assert hurried[names[0]] == crown[names[0]]
    assert hurried[names[2]] == round(40 * (crown[names[1]] - crown[names[0]]).item())
    assert names[1] not in accuracies_of(net, x, y, [0.3], "exact", 0, None, 60.0)


def test_rounding_of_hidden_layers_counts(network: Any) -> None:
    """A unit whose 0.01 is what large numbers leave is certified of exact numbers alone, not of float32."""
    model, x = network("plain", 2, 2, hidden=1, depth=1), torch.ones(2).double()
    with torch.no_grad():
        first, last = model.layers
        first.weight.copy_(torch.tensor([[1e5, -1e5]]))
        first.bias.fill_(0.01)
        last.weight.copy_(torch.tensor([[1.0], [0.0]]))
        last.bias.copy_(torch.tensor([0.0, 0.001]))
    nets = [exact_network(model.to(dtype), "multiclass") for dtype in (torch.float64, torch.float32)]
    assert [verdict(net, x, 0, 1, 1e-9, math.inf) for net in nets] == ["certified", "open"]


def test_bounds_that_are_no_numbers_prove_nothing(network: Any) -> None:
    """Sums of 200 numbers may be all error in bfloat16: no row is certified, and all that stand are undecided."""
    model = network("plain", 3, 2, hidden=200, depth=2).bfloat16()
    net, x = exact_network(model, "multiclass"), torch.randn(5, 3).double()
    y = net.logits(x).argmax(dim=1)
    found = accuracies_of(net, x, y, [1e-6], "exact", 5, None, 0.2)
    assert found["certified_accuracy/1e-06"] == 0
    assert found["num_undecided/1e-06"] == 5


def test_the_time_is_kept(network: Any) -> None:
    """A network of many units, at a radius where all are open, ends at the deadline, and not in hours."""
    net = exact_network(network("plain", 20, 2, hidden=60, depth=3), "multiclass")
    begun = time.monotonic()
    assert verdict(net, torch.zeros(20).double(), 0, 1, 5.0, begun + 0.2) == "open"
