"""PathProx: every part does what it says, and its fixed points are the minima of weight decay."""

import copy
import math
from functools import partial
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from unit_networks import KINDS, unit_network, without_biases

from psilon_bench.errors import UsageError
from psilon_bench.metrics.units import weight_decay_objectives
from psilon_bench.models.mlp import MLP
from psilon_bench.models.offers import Pair
from psilon_bench.models.units import incoming_norms, outgoing_norms, unit_sizes
from psilon_bench.models.vgg import VGG
from psilon_bench.regularizers.path_prox import PathProx, balancing

ZERO = torch.zeros(()).double()


def change(regularizer: Any, model: Any, step: Any) -> None:
    """What happens to the network after an optimizer's step."""
    with torch.no_grad():
        regularizer.after_step(model, torch.tensor(step, dtype=torch.float64), {})


def started(model: Any) -> Any:
    """The network with incoming weights of unit norm."""
    with torch.no_grad():
        PathProx("compensated", True, "kept").at_start(model)
    return model


@torch.no_grad()
def by_units(model: Any, step: Any, balance: Any, bias: Any) -> None:
    """The same one after the other and unit by unit: normalise, shrink, balance."""
    pairs = model.units()
    for pair in pairs:
        for k in range(len(pair.incoming.weight)):
            norm = pair.incoming.weight[k].norm()
            pair.incoming.weight.data[k] /= norm
            pair.incoming.bias.data[k] /= norm if bias == "divided" else 1
            pair.outgoing.weight.data[:, k] *= max(0.0, 1 - step / pair.outgoing.weight[:, k].norm())
    sums = [sum(float(pair.outgoing.weight[:, k].norm()) for k in range(len(pair.incoming.weight))) for pair in pairs]
    mean, so_far = math.prod(sums) ** (1 / len(sums)), 1.0
    for pair, size in zip(pairs, sums, strict=True) if balance else []:
        pair.incoming.bias.data *= so_far
        so_far *= mean / size
        pair.outgoing.weight.data *= mean / size
        pair.outgoing.bias.data *= so_far


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("balance", [True, False])
@pytest.mark.parametrize("bias", ["kept", "divided"])
def test_a_change_is_that_of_every_unit(kind: Any, balance: Any, bias: Any) -> None:
    """Fused over all pairs == the three steps, unit by unit."""
    model, _ = unit_network(kind)
    slow = copy.deepcopy(model)
    step = torch.cat([outgoing_norms(pair) for pair in model.units()]).median().item()
    change(PathProx("authors", balance, bias), model, step)
    by_units(slow, step, balance, bias)
    assert 0 < sum(int((sizes == 0).sum()) for sizes in unit_sizes(model)) < sum(len(s) for s in unit_sizes(model))
    for name, value in slow.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_the_start_changes_no_output(kind: Any) -> None:
    """Compensated: unit norms, the same function and the same sizes; authors: nothing yet."""
    model, x = unit_network(kind)
    with torch.no_grad():
        model.units()[0].incoming.weight[1] = 0  # a dead unit keeps its bias
        expected, sizes = model(x), torch.cat(unit_sizes(model))
        PathProx("authors", True, "divided").at_start(model)
        assert torch.equal(model(x), expected)
        started(model)
    torch.testing.assert_close(model(x), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(torch.cat(unit_sizes(model)), sizes, rtol=1e-12, atol=1e-14)
    norms = torch.cat([incoming_norms(pair) for pair in model.units()])
    torch.testing.assert_close(norms, (torch.arange(len(norms)) != 1).double(), rtol=1e-14, atol=0)


@pytest.mark.sampled(every=4)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pattern", [0, 0b1, 0b10, 0b100, 0b101, 0b1010, 0b11001, 0b111111])
def test_the_balance_changes_no_output(kind: Any, pattern: Any) -> None:
    """With unit norms and step 0 the balance alone is left: same function, equal path norms, whatever the biases."""
    model, x = unit_network(kind)
    without_biases(model, pattern)
    expected = started(model)(x)
    change(PathProx("compensated", True, "kept"), model, 0.0)
    torch.testing.assert_close(model(x), expected, rtol=1e-11, atol=1e-12)
    sums = torch.stack([sizes.sum() for sizes in unit_sizes(model)])
    torch.testing.assert_close(sums, sums.mean().expand_as(sums), rtol=1e-12, atol=0)


def test_balancing_has_the_smallest_sum() -> None:
    """Among factors of product 1 the balance minimises sum c_g P_g (the inequality of the means)."""
    path_norms = torch.tensor([0.3, 20.0, 1.7, 400.0]).double()
    factors = balancing(path_norms)
    assert factors.prod().item() == pytest.approx(1, rel=1e-14)
    for _ in range(50):
        other = torch.randn(4).double().exp()
        other = factors * other / other.prod() ** 0.25
        assert (other * path_norms).sum() >= (factors * path_norms).sum()


@pytest.mark.parametrize("dead", [0.0, 1e-30, math.nan])
def test_there_is_no_balance_with_a_dead_pair(dead: Any) -> None:
    """A path norm of about 0 cannot be made the others': nothing is scaled, outputs stay finite and the same."""
    assert torch.equal(balancing(torch.tensor([3.0, dead, 5.0]).double()), torch.ones(3).double())
    model, x = unit_network("factorized")
    started(model)
    with torch.no_grad():
        model.units()[1].outgoing.weight.zero_()
    expected = model(x)
    change(PathProx("compensated", True, "kept"), model, 0.0)
    torch.testing.assert_close(model(x), expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize("kind", ["odd", "vgg"])
@pytest.mark.parametrize("step", [1e-3, 0.7, 5.0])
def test_the_prox_solves_its_own_problem(kind: Any, step: Any) -> None:
    """p = prox(v)  <=>  R(u) - R(p) >= <v - p, u - p> / step for all u, R the sum of ||v_k||; a dead unit included."""
    model, _ = unit_network(kind)
    with torch.no_grad():
        model.units()[0].outgoing.weight[:, 2] = 0
    before = [pair.outgoing.weight.detach().clone() for pair in started(model).units()]
    change(PathProx("compensated", False, "kept"), model, step)
    for v, pair in zip(before, model.units(), strict=True):
        p = pair.outgoing.weight.detach().clone()
        for scale in (1e-3, 0.1, 1.0, 30.0):
            for u in (p + scale * torch.randn_like(p), v * scale, p * (1 - scale)):
                slope = ((v - p) * (u - p)).sum() / step
                r = [outgoing_norms(Pair(None, _Weight(value))).sum() for value in (u, p)]
                assert r[0] - r[1] >= slope - 1e-9 * (1 + slope.abs())


class _Weight:
    """A layer of which only the weight matters."""

    def __init__(self, weight: Any) -> None:
        self.weight = weight


@pytest.mark.parametrize("kind", KINDS)
def test_limits(kind: Any) -> None:
    """lam = 0 shrinks nothing; a huge one leaves exact zeros and nothing that is not finite, ever after."""
    model, x = unit_network(kind)
    none, huge = started(model), copy.deepcopy(model)
    before = [pair.outgoing.weight.detach().clone() for pair in none.units()]
    change(PathProx("compensated", False, "kept"), none, 0.0)
    for pair, weight in zip(none.units(), before, strict=True):
        torch.testing.assert_close(pair.outgoing.weight.data, weight, rtol=1e-14, atol=0)
    for _ in range(2):
        change(PathProx("compensated", True, "kept"), huge, 1e30)
        assert all((sizes == 0).all() for sizes in unit_sizes(huge))
        assert all(value.isfinite().all() for value in huge.state_dict().values())
    assert huge(x).isfinite().all()


def test_a_channel_is_a_dense_unit() -> None:
    """The change of a pair of convolutions is that of dense layers with all weights of a channel in a row."""
    model, _ = unit_network("vgg")
    assert isinstance(model, VGG)
    dense = MLP(1, 1, 1, 3, None, False, "relu", "orthogonal").double()
    for i, convolution in enumerate(model.convolutions):
        weight, bias = convolution.weight.detach(), convolution.bias.detach()
        rows = weight.transpose(1, 3).reshape(-1, weight.shape[1]) if i % 2 else weight.flatten(1)
        dense.layers[i].weight = torch.nn.Parameter(rows.clone())
        dense.layers[i].bias = torch.nn.Parameter(bias.clone())
    for network in (model, dense):
        change(PathProx("authors", True, "divided"), network, 0.8)
    for i, (convolution, layer) in enumerate(zip(model.convolutions, dense.layers, strict=True)):
        weight = convolution.weight.detach()
        rows = weight.transpose(1, 3).reshape(-1, weight.shape[1]) if i % 2 else weight.flatten(1)
        torch.testing.assert_close(layer.weight.data, rows, rtol=1e-13, atol=0)
        torch.testing.assert_close(layer.bias.data, convolution.bias.data, rtol=1e-13, atol=0)


def objectives(model: Any, x: Any, y: Any, lam: Any) -> Any:
    """(F_pn, F_wd) as they are measured."""
    values = weight_decay_objectives(model, F.mse_loss(model(x), y), torch.tensor(lam, dtype=torch.float64))
    return values["wd_objective"], values["wd_objective_raw"]


@pytest.fixture(scope="module")
def decayed() -> Any:
    """A network at a minimum of F_wd, by gradient descent to the last digits; with its data and lambda."""
    torch.manual_seed(1)  # a minimum with no kink on a row, so that gradients can tell
    model, x = MLP(3, 2, 6, 3, None, False, "relu", "kaiming").double(), torch.randn(12, 3).double()
    y, lam = torch.stack([2 * (x[:, 0] - 0.3 * x[:, 1]).relu(), x[:, 1] - 0.5 * x[:, 2]], dim=1), 0.05
    lbfgs = torch.optim.LBFGS(
        model.parameters(), max_iter=3000, tolerance_grad=1e-13, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> Any:
        lbfgs.zero_grad()
        value = objectives(model, x, y, lam)[1]
        value.backward()
        return value

    for _ in range(2):
        lbfgs.step(closure)
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().max() < 1e-8
    return model, x, y, lam


def test_neural_balance(decayed: Any) -> None:
    """At a minimum of weight decay ||w_k|| = ||v_k|| for every unit, so F_pn = F_wd; some units are dead."""
    model, x, y, lam = decayed
    for pair in model.units():
        torch.testing.assert_close(incoming_norms(pair), outgoing_norms(pair), rtol=1e-6, atol=1e-6)
    path, raw = objectives(model, x, y, lam)
    assert path.item() == pytest.approx(raw.item(), rel=1e-12)
    sizes = torch.cat(unit_sizes(model))
    assert 0 < (sizes < 1e-9).sum() < len(sizes)


def descend(model: Any, x: Any, y: Any, lam: Any, lr: Any, steps: Any, bias: Any = "kept") -> Any:
    """PathProx by hand, without a trainer."""
    regularizer, sgd = PathProx("compensated", True, bias), torch.optim.SGD(model.parameters(), lr=lr)
    started(model)
    for _ in range(steps):
        sgd.zero_grad()
        (F.mse_loss(model(x), y) + lam * regularizer.penalty(model)).backward()
        sgd.step()
        change(regularizer, model, lr * lam)
    return model


def test_a_minimum_of_weight_decay_is_a_fixed_point(decayed: Any) -> None:
    """A step of PathProx from there goes nowhere; with divided biases it does, and leaves the minimum for good."""
    model, x, y, lam = decayed
    fixed = started(copy.deepcopy(model))
    for lr in (0.01, 0.2):
        moved = descend(copy.deepcopy(fixed), x, y, lam, lr, steps=1).state_dict()
        for name, value in fixed.state_dict().items():
            torch.testing.assert_close(moved[name], value, rtol=0, atol=1e-7)
    lowest = objectives(model, x, y, lam)[0]
    assert objectives(descend(fixed, x, y, lam, 0.05, steps=100, bias="divided"), x, y, lam)[0] > lowest + 1e-4


@pytest.mark.slow
def test_both_minimisers_agree(decayed: Any) -> None:
    """From beside it, PathProx comes back to F_wd's minimum and function; units that are dead there are exactly 0."""
    model, x, y, lam = decayed
    torch.manual_seed(4)
    start = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in start.parameters():
            parameter.add_(1e-3 * torch.randn_like(parameter))
    lowest = objectives(model, x, y, lam)[1].item()
    assert objectives(start, x, y, lam)[0].item() > lowest + 2e-5
    found = descend(start, x, y, lam, lr=0.05, steps=600)
    assert objectives(found, x, y, lam)[0].item() == pytest.approx(lowest, abs=1e-6)
    torch.testing.assert_close(found(x), model(x), rtol=0, atol=1e-4)
    dead = torch.cat(unit_sizes(model)) < 1e-9
    assert (torch.cat(unit_sizes(found))[dead] == 0).all()


@pytest.mark.parametrize(
    "optimizer",
    [
        torch.optim.Adam,
        partial(torch.optim.SGD, momentum=0.9),
        partial(torch.optim.SGD, weight_decay=0.1),
        torch.optim.AdamW,
    ],
)
def test_other_steps_are_refused(optimizer: Any) -> None:
    """Momentum and Adam have other fixed points: one line that says so, and the remedy."""
    parameters = [torch.nn.Parameter(ZERO.clone())]
    with pytest.raises(UsageError, match=r"plain gradient steps.*optimizer=sgd with optimizer\.momentum=0"):
        PathProx("authors", True, "divided").check_optimizer(optimizer(parameters, lr=0.1))
    PathProx("authors", True, "divided").check_optimizer(torch.optim.SGD(parameters, lr=0.1, fused=True))


def test_momentum_would_minimise_another_objective(decayed: Any) -> None:
    """Why: the fixed point of the prox after momentum m is that of (1 - m) lam."""
    model, x, y, lam = decayed
    lr, m = 0.02, 0.5
    fixed = started(copy.deepcopy(model))
    gradients = torch.autograd.grad(F.mse_loss(fixed(x), y), [pair.outgoing.weight for pair in fixed.units()])
    for pair, gradient in zip(fixed.units(), gradients, strict=True):
        weight = pair.outgoing.weight.detach()
        for rate, threshold, stays in ((lr, lr * lam, True), (lr / (1 - m), lr * lam, False)):
            moved = weight - rate * gradient
            shrunk = moved * (1 - threshold / moved.norm(dim=0)).clamp_min(0)
            assert torch.allclose(shrunk, weight, rtol=0, atol=1e-8) is stays
