"""Pruners on networks: blends, bounds that stay, exact zeros, plain and compact networks of the same outputs."""

import itertools
from typing import Any, Literal, TypeVar, overload

import pytest
import torch
from reference import path_norm_by_product

from psilon_bench.models.crelu_resnet import CReLUResNet, parts
from psilon_bench.models.mlp import MLP
from psilon_bench.pruning.l1_projection import L1Projection, ProjectedGradient
from psilon_bench.pruning.magnitude import Magnitude

Network = TypeVar("Network", bound=MLP | CReLUResNet)


@overload
def network(kind: Literal["pnet"]) -> MLP: ...
@overload
def network(kind: Literal["resnet"]) -> CReLUResNet: ...
@overload
def network(kind: str, seed: int = 0, sparse: float = 0.0, depth: int = 3) -> MLP | CReLUResNet: ...
def network(kind: str, seed: int = 0, sparse: float = 0.0, depth: int = 3) -> MLP | CReLUResNet:
    """A small one in float64 with lengths of both signs; `sparse` of the directions are 0."""
    torch.manual_seed(seed)
    made: MLP | CReLUResNet = (
        MLP(5, 2, 7, depth, 1, True, "relu", "orthogonal") if kind == "pnet" else CReLUResNet(5, 2, 7, depth, 1, True)
    )
    made = made.double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn_like(parameter))
        for layer in made.norm_layers():
            layer.v.mul_(torch.rand_like(layer.v) >= sparse)
    return made


def blended(model: Network, a: float, strength: float | None = None) -> Network:
    """The same with the layers' blend set."""
    for layer in model.norm_layers():
        layer.blend, layer.strength = a, strength
    return model


@pytest.mark.parametrize("kind", ["pnet", "resnet"])
@pytest.mark.parametrize("a", [0.3, 1.0])
@pytest.mark.parametrize("strength", [None, 1.0, 1.2, 4.0])
def test_the_projection_keeps_the_path_norm(kind: Any, a: Any, strength: Any) -> None:
    """Rows keep their 1-norm |g_j| at every blend: closed form == before == the product of the explicit weights."""
    model = network(kind)
    before = model.path_norm()
    blended(model, a, strength)
    torch.testing.assert_close(model.path_norm(), before)
    if isinstance(model, MLP):
        torch.testing.assert_close(path_norm_by_product(model.weights()), before)
        return
    for layer in (*model.blocks, model.last):
        plus, minus = parts(layer)
        rows = torch.maximum(plus.abs(), minus.abs()).sum(dim=1)
        torch.testing.assert_close(rows, layer.g.abs().expand_as(rows))


def test_crelu_pairs_share_tau() -> None:
    """|w+| and |w-| lose the same tau, which comes from their maximum."""
    layer = blended(network("resnet"), 1.0).blocks[0]
    plus, minus = (half.abs() for half in layer.projected().chunk(2, dim=1))
    raw_plus, raw_minus = (half.abs() for half in layer.v.chunk(2, dim=1))
    both = (plus > 0) & (minus > 0)
    assert both.any()
    torch.testing.assert_close((raw_plus - plus)[both], (raw_minus - minus)[both])
    assert (torch.maximum(plus, minus) == 0).any()


@pytest.mark.parametrize("kind", ["pnet", "resnet"])
def test_the_blend_is_the_formula(kind: Any) -> None:
    """W = (1 - a) W_0 + a W_1, and the forward pass is that of the plain network of W."""
    x = torch.randn(20, 5).double()
    ends = [[weight.detach() for weight in blended(network(kind), a).weights()] for a in (0.0, 1.0)]
    model = blended(network(kind), 0.4)
    for own, start, end in zip(model.weights(), *ends, strict=True):
        torch.testing.assert_close(own, 0.6 * start + 0.4 * end)
    torch.testing.assert_close(model(x), model.plain()(x))
    for p in (1, 2, 1.5):
        total = sum((weight.abs() ** p).sum() for weight in model.weights())
        torch.testing.assert_close(model.power_sum(p), total)


@pytest.mark.sampled(every=4)
@pytest.mark.parametrize(("kind", "depth"), [("pnet", 1), ("pnet", 3), ("resnet", 1), ("resnet", 4)])
@pytest.mark.parametrize("sparse", [0.0, 0.6, 0.93, 1.0])
def test_the_compact_network_has_the_same_outputs(kind: Any, depth: Any, sparse: Any) -> None:
    """Fewer inputs and units, constants folded into biases; nothing that is read is lost."""
    x, sizes = torch.randn(20, 5).double(), []
    for seed, a in itertools.product(range(3), (0.0, 1.0)):
        model = blended(network(kind, seed, sparse, depth), a)
        compact, inputs = model.compact()
        torch.testing.assert_close(compact(x[:, inputs]), model(x))
        read = model.input_bounds() > 0
        assert set(read.nonzero().flatten().tolist()) <= set(inputs.tolist())
        assert len(inputs) == max(1, int(read.sum()))
        assert sum(p.numel() for p in model.plain().parameters()) >= sum(p.numel() for p in compact.parameters())
        sizes.append(sum(p.numel() for p in compact.parameters()))
    if sparse > 0.9:
        assert min(sizes) < sum(p.numel() for p in model.plain().parameters())


def test_input_bounds_bound_each_input() -> None:
    """Moving one input by d moves the outputs (L1) by at most its bound times d; the bounds sum to lipschitz_bound."""
    for kind, seed in itertools.product(("pnet", "resnet"), range(5)):
        model = network(kind, seed)
        torch.testing.assert_close(model.input_bounds().sum(), model.lipschitz_bound())
        x = torch.randn(200, 5).double()
        for column, bound in enumerate(model.input_bounds()):
            moved = x.clone()
            moved[:, column] += torch.randn(200).double()
            distance = (moved - x)[:, column].abs()
            assert ((model(moved) - model(x)).abs().sum(dim=1) <= bound * distance * (1 + 1e-9)).all()


@pytest.mark.parametrize("kind", ["pnet", "resnet"])
def test_strength_knows_no_scale(kind: Any) -> None:
    """The pruned weights are those of any multiple of V; 1 changes nothing, more makes more zeros."""
    model, zeros = network(kind), []
    plain = [weight.detach() for weight in model.weights()]
    for strength in (1.0, 1.1, 2.0, 10.0):
        pruned = [weight.detach() for weight in blended(model, 1.0, strength).weights()]
        with torch.no_grad():
            for layer in model.norm_layers():
                layer.v.mul_(7.3)
        for own, scaled in zip(pruned, model.weights(), strict=True):
            torch.testing.assert_close(scaled, own)
        if strength == 1:
            for own, before in zip(pruned, plain, strict=True):
                torch.testing.assert_close(own, before)
        zeros.append(sum(int((weight == 0).sum()) for weight in pruned))
    assert zeros == sorted(set(zeros))
    assert zeros[0] == 0


def test_l1_projection_blends_over_its_last_steps() -> None:
    """a = 0 until steps - n, then linear, 1 at the end."""
    model, pruner = network("pnet"), L1Projection(steps=4, strength=1.5)
    seen = []
    for step in range(11):
        pruner.at_step(model, step, 10)
        seen.append(model.layers[0].blend)
    assert seen == [0, 0, 0, 0, 0, 0, 0, 0.25, 0.5, 0.75, 1]
    assert model.layers[0].strength == 1.5
    assert pruner.first_step(10) == 6


def test_projected_gradient_puts_v_on_the_simplex() -> None:
    """|v_j| sums to 1 with the signs it had, twice the same."""
    model = network("pnet")
    signs = [layer.v.sign() for layer in model.layers]
    with torch.no_grad():
        ProjectedGradient().after_step(model)
    for layer, sign in zip(model.layers, signs, strict=True):
        torch.testing.assert_close(layer.v.abs().sum(dim=1), torch.ones(len(layer.v)).double())
        assert ((layer.v == 0) | (layer.v.sign() == sign)).all()
        assert (layer.v == 0).any()
    again = [layer.v.clone() for layer in model.layers]
    with torch.no_grad():
        ProjectedGradient().after_step(model)
    for layer, v in zip(model.layers, again, strict=True):
        torch.testing.assert_close(layer.v, v)


@pytest.mark.parametrize("amount", [0.0, 0.37, 0.9, 1.0])
def test_magnitude_removes_the_smallest(amount: Any) -> None:
    """Exactly so many zeros, none of them larger than what is left; biases stay."""
    model = network("pnet").plain()
    before = torch.cat([weight.detach().flatten().clone() for weight in model.weights()])
    biases = [layer.bias.clone() for layer in model.layers]
    Magnitude(amount).prune(model, torch.randn(3, 5))
    after = torch.cat([weight.detach().flatten() for weight in model.weights()])
    gone = after == 0
    assert gone.sum() == round(amount * len(after))
    assert torch.equal(after[~gone], before[~gone])
    if gone.any() and not gone.all():
        assert before[gone].abs().max() <= before[~gone].abs().min()
    assert all(torch.equal(layer.bias, bias) for layer, bias in zip(model.layers, biases, strict=True))
