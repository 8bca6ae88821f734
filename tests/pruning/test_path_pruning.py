"""Pruning by paths: the bound is the one of the theorem, holds on all rows, and knows no scale of units."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from psilon_bench.errors import UsageError
from psilon_bench.models.crelu_resnet import CReLUResNet
from psilon_bench.models.path_change import changes_of_entries, largest_inputs, path_change
from psilon_bench.pruning.magnitude import Magnitude
from psilon_bench.pruning.path import PathPruning, matrices
from psilon_bench.run.checks import prepare

KINDS = ["pnet", "snet", "plain", "residual"]


@pytest.fixture
def made(network: Any) -> Any:
    """made("residual"): a network of 5 inputs and 2 outputs in float64 with random biases, as plain layers."""

    def made(kind: str, activation: str = "relu", hidden: int = 6, depth: int = 3) -> Any:
        if kind != "residual":
            return network(kind, 5, 2, hidden, depth, activation).plain()
        model = CReLUResNet(5, 2, hidden, depth, 1, share=True).double()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn_like(parameter))
        return model.plain()

    return made


def paths(model: Any, ranges: list[float]) -> Tensor:
    """Phi of a plain MLP: the sum over all paths from an input or a bias to an output, one by one."""
    layers = model.layers

    def ending(layer: int, unit: int) -> Tensor:
        """All paths that end in this unit."""
        if layer < 0:
            return torch.tensor(ranges[unit]).double()
        sources = enumerate(layers[layer].weight[unit])
        return layers[layer].bias[unit].abs() + sum(w.abs() * ending(layer - 1, source) for source, w in sources)

    return sum(ending(len(layers) - 1, output) for output in range(len(layers[-1].bias)))  # type: ignore[return-value]


def masked(model: Any, share: float) -> Any:
    """The same network with this share of its weights at 0."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        for weight in matrices(other):
            weight.mul_(torch.rand_like(weight) >= share)
    return other


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "tanh"])
def test_the_bound_is_the_difference_of_sums_over_paths(made: Any, activation: str) -> None:
    """Gonon et al. 2025, of plain networks, with biases as sources: d = Phi - Phi'."""
    model = made("plain", activation, hidden=3, depth=2)
    pruned, ranges = masked(model, 0.4), [0.5, 2.0, 1.0, 3.0, 0.1]
    bound = path_change(model.slope_layers(), pruned.slope_layers(), torch.tensor(ranges).double())
    torch.testing.assert_close(bound, paths(model, ranges) - paths(pruned, ranges))
    without = path_change(model.slope_layers(), model.slope_layers(), torch.ones(5).double())
    assert without == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_outputs_move_no_further_than_the_bound(made: Any, kind: str, activation: str) -> None:
    """Rows within the ranges, on their corners, and outside by a factor; some random networks, large biases too."""
    for share in (0.02, 0.3, 0.9):
        model = made(kind, activation)
        pruned, ranges = masked(model, share), torch.rand(5).double() + 0.1
        bound = path_change(model.slope_layers(), pruned.slope_layers(), ranges)
        inside = (torch.rand(500, 5).double() * 2 - 1) * ranges
        rows = torch.cat([inside, inside.sign() * ranges, 7 * inside])
        times = (rows.abs() / ranges).amax(dim=1).clamp_min(1)
        changes = (model(rows) - pruned(rows)).abs().sum(dim=1)
        assert (changes <= bound * times * (1 + 1e-12)).all()
        assert changes.max() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_biases_that_move_count(made: Any, kind: str) -> None:
    """With the weights as they are, the bound is that of the paths that start at what moved."""
    model, x = made(kind), torch.randn(200, 5).double()
    other = copy.deepcopy(model)
    for bias in biases(other):
        bias.data += 0.1 * torch.randn_like(bias)
    moved = (model(x) - other(x)).abs().sum(dim=1).max()
    assert 1e-3 < moved <= path_change(model.slope_layers(), other.slope_layers(), largest_inputs(x))


def test_a_difference_of_path_norms_bounds_nothing_in_residual_networks(made: Any) -> None:
    """The smaller of W+ and W- goes: the path norm stays, the outputs move, and so does the bound."""
    model = made("residual")
    pruned = copy.deepcopy(model)
    plus, minus = pruned.last.weight.data.chunk(2, dim=1)
    plus[plus.abs() < minus.abs()] = 0
    torch.testing.assert_close(pruned.path_norm("improved"), model.path_norm("improved"))
    x = torch.randn(100, 5).double()
    moved = (model(x) - pruned(x)).abs().sum(dim=1).max()
    assert 1e-3 < moved <= path_change(model.slope_layers(), pruned.slope_layers(), largest_inputs(x))


def test_paths_without_biases_bound_nothing(made: Any) -> None:
    """A unit that reads nothing is a constant: the path norm does not see the weight behind it, and the bound does."""
    model = made("plain", hidden=3, depth=1)
    model.layers[0].weight.data[0] = 0
    model.layers[0].bias.data[0] = 5
    pruned = copy.deepcopy(model)
    pruned.layers[1].weight.data[:, 0] = 0
    assert model.path_norm() == pruned.path_norm()
    change = (model(torch.zeros(1, 5).double()) - pruned(torch.zeros(1, 5).double())).abs().sum()
    bound = path_change(model.slope_layers(), pruned.slope_layers(), torch.ones(5).double())
    torch.testing.assert_close(bound, change)


def test_scores_are_the_weights_times_the_slopes_of_the_sum_over_paths(made: Any) -> None:
    """|w| dPhi/d|w| by autograd of the sum over paths, one by one."""
    model, ranges = made("plain", hidden=3, depth=2), [0.5, 2.0, 1.0, 3.0, 0.1]
    slopes = torch.autograd.grad(paths(model, ranges), matrices(model))
    entries = changes_of_entries(model.slope_layers(), torch.tensor(ranges).double())
    for weight, slope, entry in zip(matrices(model), slopes, entries, strict=True):
        torch.testing.assert_close(weight.abs() * entry, weight * slope)


@pytest.mark.parametrize("kind", KINDS)
def test_one_weight_alone_moves_the_bound_by_its_score(made: Any, kind: str) -> None:
    """Of W+ and W- as well: the score is the bound where this weight alone goes."""
    model, ranges = made(kind), torch.rand(5).double() + 0.1
    for place, entry in enumerate(changes_of_entries(model.slope_layers(), ranges)):
        pruned = copy.deepcopy(model)
        weight = matrices(pruned)[place]
        row, column = 1, weight.shape[1] - 2  # of W-, in a residual layer
        score = weight[row, column].abs() * entry[row, column % entry.shape[1]]
        weight.data[row, column] = 0
        torch.testing.assert_close(path_change(model.slope_layers(), pruned.slope_layers(), ranges), score)


def rescaled(model: Any) -> Any:
    """The same function with other units: each is scaled by a factor of its own, and read through its inverse."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        if isinstance(other, CReLUResNet):  # the coordinates of h, in all blocks
            factors = torch.randn(len(other.first.bias)).double().exp()
            for layer in (other.first, *other.blocks):
                layer.weight.mul_(factors[:, None])
                layer.bias.mul_(factors)
            for layer in (*other.blocks, other.last):
                layer.weight.div_(factors.repeat(2))
            return other
        for before, after in zip(other.layers[:-1], other.layers[1:], strict=True):
            factors = torch.randn(len(before.bias)).double().exp()
            before.weight.mul_(factors[:, None])
            before.bias.mul_(factors)
            after.weight.div_(factors)
    return other


@pytest.mark.sampled(every=2)
@pytest.mark.unchecked_shapes
@pytest.mark.parametrize("kind", KINDS)
def test_the_mask_knows_no_scale_of_units(made: Any, kind: str) -> None:
    """100 random rescalings, also of weights that were pruned before; the mask by magnitude is another one."""
    model, x = masked(made(kind), 0.5), torch.randn(30, 5).double()

    def masks(pruner: Any, network: Any) -> Tensor:
        pruned = copy.deepcopy(network)
        pruner.prune(pruned, x)
        return torch.cat([(weight != 0).flatten() for weight in matrices(pruned)])

    path = PathPruning(
        0.1 * path_change(model.slope_layers(), masked(model, 1).slope_layers(), largest_inputs(x)).item()
    )
    mask, by_size = masks(path, model), masks(Magnitude(0.7), model)
    assert 0.05 < mask.double().mean() < 0.45
    others = 0
    for _ in range(100):
        same = rescaled(model)
        torch.testing.assert_close(same(x), model(x))
        assert torch.equal(masks(path, same), mask)
        others += int(not torch.equal(masks(Magnitude(0.7), same), by_size))
    assert others > 90


@pytest.mark.parametrize("kind", KINDS)
def test_as_many_weights_go_as_the_bound_allows(made: Any, kind: str) -> None:
    """The bound is within max_change, and not with the next weight in the order; biases stay."""
    model, x = made(kind), torch.randn(30, 5).double()
    before, pruned = copy.deepcopy(model), copy.deepcopy(model)
    limit = 0.05 * path_change(model.slope_layers(), masked(model, 1).slope_layers(), largest_inputs(x)).item()
    found = PathPruning(limit).prune(pruned, x)
    exact = path_change(before.slope_layers(), pruned.slope_layers(), largest_inputs(x)).item()
    assert exact <= found["change"] <= limit
    assert found["change"] == pytest.approx(exact, rel=1e-9)
    entries = changes_of_entries(before.slope_layers(), largest_inputs(x))
    scores = [w.abs() * e.repeat(1, w.shape[1] // e.shape[1]) for w, e in zip(matrices(before), entries, strict=True)]
    left = torch.cat([(s + 1e9 * (w == 0)).flatten() for s, w in zip(scores, matrices(pruned), strict=True)])
    gone = torch.cat([s[w == 0] for s, w in zip(scores, matrices(pruned), strict=True)])
    assert gone.max() <= left.min() * (1 + 1e-6)
    place = int(left.argmin())
    for weight in matrices(pruned):
        if place < weight.numel():
            weight.data.view(-1)[place] = 0
            break
        place -= weight.numel()
    assert path_change(before.slope_layers(), pruned.slope_layers(), largest_inputs(x)) > limit
    assert all(torch.equal(a, b) for a, b in zip(biases(before), biases(pruned), strict=True))


@pytest.mark.parametrize("kind", ["pnet", "residual"])
def test_the_term_of_a_monotone_network_counts(network: Any, kind: str) -> None:
    """It changes with the weights: outputs move within the bound, further than without it, and stay monotone."""
    torch.manual_seed(0)
    model: Any = network(kind, 5, 1).plain() if kind == "pnet" else CReLUResNet(5, 1, 6, 2, 1, True).double().plain()
    x, rows = torch.randn(30, 5).double(), torch.randn(500, 5).double()
    before = copy.deepcopy(model)
    model.directions = torch.tensor([1.0, 0, -1, 0, 0]).double()
    pruned, limit = copy.deepcopy(model), 0.2 * model.lipschitz_bound().item()
    change = PathPruning(limit).prune(pruned, x)["change"]
    assert 0.5 * limit < change <= limit
    pruned_before = copy.deepcopy(pruned)
    pruned_before.directions = None
    own = path_change(before.slope_layers(), pruned_before.slope_layers(), largest_inputs(x)).item()
    trend = ((model.trend() - pruned.trend()).abs() * largest_inputs(x)).sum().item()
    assert change == pytest.approx(own + trend, rel=1e-9)
    assert trend > 0.05 * limit
    times = (rows.abs() / largest_inputs(x)).amax(dim=1).clamp_min(1)
    assert ((model(rows) - pruned(rows)).abs().sum(dim=1) <= change * times).all()
    assert (pruned(rows + pruned.directions) >= pruned(rows)).all()


def biases(model: Any) -> list[Tensor]:
    return [parameter for parameter in model.parameters() if parameter.dim() == 1]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("pruner.max_change=0",), r"^pruner\.max_change=0 is not valid: it should be greater than 0\.$"),
        (("pruner.max_change=-1",), r"^pruner\.max_change=-1 is not valid"),
        (("model=diagonal_linear", "reg=none"), r"needs the sums of paths, and DiagonalLinear offers no path_norm"),
        (
            ("model=random_forest", "reg=none"),
            r"pruner=path does not fit model=random_forest: it needs the sums of path",
        ),
        (("model=ridge", "reg=none"), r"pruner=path does not fit model=ridge: it needs the sums of paths"),
        (("model=snet", "reg=l2", "model.activation=gelu"), r"slope at most 1, and the model's has 1\.129 \(take"),
        (("trainer.prune_then_finetune=3",), r"trainer\.prune_then_finetune moves them on \(set"),
    ],
)
def test_what_cannot_be_promised_is_refused(config: Any, overrides: Any, words: str) -> None:
    """One line each, before anything is written."""
    with pytest.raises(UsageError, match=words) as caught:
        prepare(config("pruner=path", *overrides))
    assert "\n" not in str(caught.value)
