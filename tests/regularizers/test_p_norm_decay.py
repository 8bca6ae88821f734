"""p-norm weight decay: the formula and its limits, AdamW, stationary points, what reaches 0; soft-thresholding."""

import copy
import itertools
import math
from typing import Any

import pytest
import torch
from torch import nn

from psilon_bench.errors import UsageError
from psilon_bench.models.linear import powers
from psilon_bench.models.mlp import MLP
from psilon_bench.regularizers.lasso_prox import LassoProx
from psilon_bench.regularizers.lp_norm import LpNorm
from psilon_bench.regularizers.p_norm_decay import PNormDecay, factor
from psilon_bench.regularizers.shrunk import Group, shrunk
from psilon_bench.run.checks import prepare
from psilon_bench.training.engines import build_trainer
from psilon_bench.training.trainer import Trainer

ALL: list[Group] = ["biases", "gains", "norms"]


def decay(p: Any, p_end: Any = None, schedule: Any = "linear", exclude: Any = ALL) -> Any:
    return PNormDecay(p, p_end, schedule, list(exclude))


def number(value: Any, dtype: Any = torch.float64) -> Any:
    return torch.tensor(value, dtype=dtype)


@pytest.mark.parametrize("p", [0.3, 0.5, 0.8, 1.0, 1.2, 1.5, 2.0, 2.5, 4.0])
@pytest.mark.parametrize("step", [1e-12, 1e-5, 0.3])
def test_factor_is_the_formula(p: Any, step: Any) -> None:
    """s / (s + p step), s = |w|^(2-p), by Python's own powers."""
    weights = [sign * 10.0**e for sign in (1, -1) for e in range(-12, 3)]
    expected = [abs(w) ** (2 - p) / (abs(w) ** (2 - p) + p * step) for w in weights]
    own = factor(number(weights), number(p), number(step))
    torch.testing.assert_close(own, number(expected), rtol=1e-13, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("p", [0.5, 1.0, 1.9, 2.0, 2.1, 3.0])
def test_limits_are_exact(p: Any, dtype: Any) -> None:
    """No step: 1. w = 0: 0 below p = 2, 1 / (1 + 2 step) at it, 1 above. Denormals, huge weights: between, in order."""
    info = torch.finfo(dtype)
    sizes = [0.0, info.tiny / 8, info.tiny, 1e-30, 1e-19, 1e-6, 1.0, 1e18, info.max]
    for step in (info.tiny, 1e-12, 1e-3, 10.0):
        own = factor(number(sizes, dtype), number(p, dtype), number(step, dtype))
        at_zero = 0.0 if p < 2 else 1.0 if p > 2 else 1 / (1 + 2 * step)
        assert own[0].item() == pytest.approx(at_zero, rel=4 * info.eps, abs=0)
        assert ((own >= 0) & (own <= 1)).all()
        pairs = list(itertools.pairwise(own.tolist()))
        assert all(a <= b for a, b in pairs) if p <= 2 else all(a >= b for a, b in pairs)
    assert (factor(number(sizes, dtype), number(p, dtype), number(0.0, dtype)) == 1).all()


def settle(start: Any, target: Any, curvature: Any, regularizer: Any, lam: Any, lr: Any, steps: Any) -> Any:
    """Gradient descent on curvature / 2 (w - target)^2, elementwise, with the regularizer around its steps."""
    model = nn.Linear(len(start), 1, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(number([start]))
        trace = []
        for _ in range(steps):
            own = {name: number(value) for name, value in regularizer.values(0).items()}
            before = regularizer.before_step(model, number(lr * lam), **own)
            model.weight -= lr * number(curvature) * (model.weight - number(target))
            regularizer.after_step(model, number(lr * lam), before, **own)
            trace.append(model.weight[0].clone())
    return torch.stack(trace)


@pytest.mark.unchecked_shapes
@pytest.mark.parametrize("p", [0.5, 0.8, 1.0, 1.5, 2.0, 3.0])
def test_it_rests_where_the_slopes_balance(p: Any) -> None:
    """curvature (target - w) = lam p |w|^(p-1) sign w, for weights of both signs."""
    target, curvature, lam = [3.0, -1.5, 0.9, -2.2], [1.0, 2.0, 1.7, 0.4], 0.15
    w = settle(target, target, curvature, decay(p), lam, 0.2, 600)[-1]
    force = number(curvature) * (number(target) - w)
    torch.testing.assert_close(force, lam * p * w.abs() ** (p - 1) * w.sign(), rtol=1e-9, atol=1e-12)
    assert (w.abs() < number(target).abs()).all()
    assert w.all()


@pytest.mark.unchecked_shapes
def test_p_1_rests_where_soft_thresholding_does() -> None:
    """sign(a) max(|a| - lam / c, 0): by decay up to what is left of a geometric series, by the prox exactly."""
    target, curvature, lam = [3.0, -1.5, 0.2, -0.1, 0.5], [1.0, 2.0, 1.7, 0.4, 0.3], 0.4
    a, c = number(target), number(curvature)
    expected = a.sign() * (a.abs() - lam / c).clamp_min(0)
    assert (expected == 0).sum() == 3
    torch.testing.assert_close(settle(target, target, curvature, decay(1.0), lam, 0.3, 1000)[-1], expected)
    by_prox = settle(target, target, curvature, LassoProx(ALL), lam, 0.3, 1000)[-1]
    torch.testing.assert_close(by_prox, expected, rtol=1e-12, atol=0)
    assert (by_prox == 0).sum() == 3


@pytest.mark.sampled(every=2)
@pytest.mark.unchecked_shapes
@pytest.mark.parametrize(
    "p", [0.5, pytest.param(0.8, marks=pytest.mark.slow), 1.0, pytest.param(1.5, marks=pytest.mark.slow)]
)
def test_without_force_a_weight_dies_by_the_rule_of_thumb(p: Any) -> None:
    """|w|^(2-p) falls by p (2-p) lam sum lr: 2 % above that a weight has what is left of it, 2 % below it is dead."""
    steps = 20_000 if p > 1 else 5000  # the slower it dies, the more a finite step matters
    lam, lr = 0.01, 20 / steps
    budget = p * (2 - p) * lam * lr * steps
    border = budget ** (1 / (2 - p))
    trace = settle([0.98 * border, -1.02 * border], [0.0, 0.0], [0.0, 0.0], decay(p), lam, lr, steps)
    left = ((1.02 * border) ** (2 - p) - budget) ** (1 / (2 - p))
    assert trace[-1, 1].item() == pytest.approx(-left, rel=0.1)
    assert trace[-1, 0].abs() < 0.01 * left
    if p < 1:
        assert trace[-1, 0].abs() < 1e-13


def test_what_is_zero_stays_zero_below_p_2() -> None:
    """A force moves a dead weight for p = 2 and 3 alone, and for the prox of the lasso."""
    for p, moves in ((0.5, False), (1.0, False), (1.9, False), (2.0, True), (3.0, True)):
        assert bool(settle([0.0], [1.0], [1.0], decay(p), 1e-3, 0.1, 5)[-1].any()) == moves
    assert settle([0.0], [1.0], [1.0], LassoProx(ALL), 1e-3, 0.1, 5)[-1].any()


def test_as_a_penalty_it_chatters_where_decay_dies() -> None:
    """p = 1/2, no force towards 0 but the norm's: the gradient's way jumps across 0 for ever, decay's is 0."""
    lam, lr, w = 0.05, 0.1, number([0.3]).requires_grad_()
    jumps = []
    for _ in range(500):
        (slope,) = torch.autograd.grad(lam * powers(w, 0.5).sum(), w)
        jumps.append((lr * slope).abs().item())
        w = (w - lr * slope).detach().requires_grad_()
    assert min(jumps[-200:]) > 1e-3
    assert settle([0.3], [0.0], [0.0], decay(0.5), lam, lr, 500)[-1].item() == 0


def test_the_penalty_has_slope_0_at_0(network: Any) -> None:
    """p < 1: the value of a network with dead weights; p |w|^(p-1) sign w elsewhere, nowhere NaN."""
    model = network("plain", 4, 3)
    with torch.no_grad():
        model.layers[0].weight[1] = 0
    weight = model.layers[0].weight
    penalty = LpNorm(p=0.6, scale=1.0).penalty(model)
    assert penalty.item() == pytest.approx(sum(abs(x) ** 0.6 for w in model.weights() for x in w.flatten().tolist()))
    (slope,) = torch.autograd.grad(penalty, weight)
    expected = (0.6 * weight.abs() ** -0.4 * weight.sign()).where(weight != 0, 0)
    torch.testing.assert_close(slope, expected)


def test_p_moves_over_the_run() -> None:
    """From p to p_end, in a line or along a cosine; p without an end stays."""
    assert [decay(0.5, 1.5).values(share)["p"] for share in (0, 0.25, 1)] == [0.5, 0.75, 1.5]
    assert [decay(2.0, 1.0, "cosine").values(x)["p"] for x in (0, 0.5, 1)] == pytest.approx([2.0, 1.5, 1.0])
    assert decay(2.0, 1.0, "cosine").values(0.25)["p"] == pytest.approx(2 - (1 - math.sqrt(0.5)) / 2)
    assert {decay(0.7).values(share)["p"] for share in (0, 0.3, 1)} == {0.7}


def powers_seen(fit: Trainer) -> list[list[float]]:
    """p of all members whenever one of them gets a row, over a whole run."""
    seen: list[list[float]] = []
    fit.run(lambda member, row: seen.append(fit.training_step.values["p"].tolist()))
    return seen


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_p_end_is_reached_in_the_last_epoch(config: Any, schedule: Any) -> None:
    """p in the first epoch, p_end in the last, for each member of a stack; in a run of one epoch p."""
    run = ("model=mlp", "model.hidden=3", "reg=p_norm_decay", f"reg.schedule={schedule}", "trainer.eval_every=1")
    ends = [(0.8, 1.5), (2.0, 1.0), (1.2, None)]
    own = [(f"reg.p={p}", f"reg.p_end={'null' if end is None else end}") for p, end in ends]
    for epochs in (1, 3):
        fit = build_trainer([prepare(config(*run, *values, f"trainer.epochs={epochs}")) for values in own])
        seen = powers_seen(fit)
        assert len(seen) == 3 * epochs
        for member, (p, end) in enumerate(ends):
            assert seen[0][member] == p
            assert epochs == 1 or seen[-1][member] == pytest.approx(p if end is None else end, rel=1e-15)


class Mixed(nn.Module):
    """A network with all groups: convolution, batch and layer norms, and a gain of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.batch, self.layer = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.LayerNorm((3, 4, 4))
        self.head, self.length = nn.Linear(48, 2), nn.Parameter(torch.ones(2))


def test_weights_alone_unless_told() -> None:
    """Two-dimensional norm layers are no weights; each group can be let in."""
    model, weights = Mixed(), {"conv.weight", "head.weight"}
    groups: dict[Group, set[str]] = {
        "biases": {"conv.bias", "head.bias"},
        "gains": {".length"},
        "norms": {"batch.weight", "batch.bias", "layer.weight", "layer.bias"},
    }
    assert shrunk(model, ALL).keys() == weights
    for group, names in groups.items():
        assert shrunk(model, [other for other in ALL if other != group]).keys() == weights | names
    before = copy.deepcopy(model.state_dict())
    own = {"p": number(1.0, torch.float32)}
    reg, step = decay(1.0, exclude=["norms"]), number(0.1, torch.float32)
    with torch.no_grad():
        reg.after_step(model, step, reg.before_step(model, step, **own), **own)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == weights | groups["biases"] | {"length"}


@pytest.mark.parametrize("kind", ["pnet", "snet"])
@pytest.mark.parametrize("regularizer", [decay(0.8), LassoProx(ALL)])
def test_directions_have_no_size(network: Any, kind: Any, regularizer: Any) -> None:
    """Weight normalisation is refused with the reason."""
    with pytest.raises(UsageError, match=r"directions of a weight-normalised network have no size"):
        regularizer.check(network(kind, 3, 2))


def test_what_starts_at_zero_is_refused() -> None:
    """It would be 0 for ever; with p = 2, or left out, it is not. Nothing to decay is refused too."""
    model = MLP(3, 2, 4, 1, None, False, "relu", "orthogonal")
    decay(0.8).check(model)
    with pytest.raises(UsageError, match=r"p=0\.8 a weight that is 0 stays 0, and layers\.0\.bias starts at 0"):
        decay(0.8, exclude=["gains"]).check(model)
    decay(2.0, exclude=["gains"]).check(model)
    with pytest.raises(UsageError, match=r"BatchNorm1d has no weights of two or more dimensions \(see reg.exclude\)"):
        decay(0.8).check(nn.BatchNorm1d(3))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("reg.p=0", r"reg\.p=0 is not valid: it should be greater than 0"),
        ("reg.p=-1", r"reg\.p=-1 is not valid"),
        ("reg.p_end=0", r"reg\.p_end=0 is not valid"),
        ("reg.exclude=[weights]", r"reg\.exclude=.* is not valid: it should be 'biases', 'gains' or 'norms'"),
        ("reg.schedule=step", r"reg\.schedule='step' is not valid: it should be 'linear' or 'cosine'"),
    ],
)
def test_bad_values_are_told_in_a_line(config: Any, override: Any, message: Any) -> None:
    """Rule and value."""
    with pytest.raises(UsageError, match=message):
        config("model=mlp", "reg=p_norm_decay", override)


def test_members_may_differ_in_p(config: Any) -> None:
    """p, p_end and lam are no part of the structure; what is excluded is."""

    def structure(*overrides: Any) -> Any:
        return config("model=mlp", "reg=p_norm_decay", *overrides).structure()

    assert structure("reg.p=0.5") == structure("reg.p=2", "reg.p_end=1", "reg.lam=0.1")
    assert structure("reg.exclude=[]") != structure()
