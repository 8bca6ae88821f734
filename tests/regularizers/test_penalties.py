"""The penalties as numbers, their gradients, and the networks they refuse."""

from typing import Any

import pytest
import torch
from reference import path_norm_by_product, weight_of
from torch import nn

from psilon_bench.errors import UsageError
from psilon_bench.models.mlp import MLP
from psilon_bench.regularizers.lp_norm import LpNorm
from psilon_bench.regularizers.path_norm import PathNorm
from psilon_bench.regularizers.regularizer import Regularizer

KINDS = ["pnet", "rows", "snet", "shared", "plain"]


@pytest.fixture
def by_hand() -> MLP:
    """W_1 = [[3, -4], [0, 1]], W_2 = [[-2, 0.5]], with biases that must not count."""
    model = MLP(2, 1, 2, 1, None, False, "relu", "orthogonal").double()
    with torch.no_grad():
        model.layers[0].weight.copy_(torch.tensor([[3.0, -4.0], [0.0, 1.0]]))
        model.layers[1].weight.copy_(torch.tensor([[-2.0, 0.5]]))
        for layer in model.layers:
            layer.bias.fill_(100)
    return model


@pytest.mark.parametrize(
    ("regularizer", "expected"),
    [
        (LpNorm(p=2.0, scale=1.0), 9 + 16 + 1 + 4 + 0.25),
        (LpNorm(p=2.0, scale=0.5), (9 + 16 + 1 + 4 + 0.25) / 2),
        (LpNorm(p=1.0, scale=1.0), 3 + 4 + 1 + 2 + 0.5),
        (LpNorm(p=1.5, scale=3.0), 3 * (3**1.5 + 8 + 1 + 2**1.5 + 0.5**1.5)),
        (PathNorm("improved"), 2 * (3 + 4) + 0.5 * 1),
        (Regularizer(), 0.0),
    ],
)
def test_penalties_by_hand(by_hand: Any, regularizer: Any, expected: Any) -> None:
    """No hidden factor 1/p, biases excluded, a scalar in the network's precision."""
    penalty = regularizer.penalty(by_hand)
    assert penalty.item() == pytest.approx(expected, rel=1e-14)
    assert penalty.dtype == torch.float64
    assert penalty.shape == ()


@pytest.mark.parametrize("kind", KINDS)
def test_l2_of_scale_one_has_gradient_two_w(network: Any, kind: Any) -> None:
    """grad ||W||_F^2 = 2 W in the weights; through v and g by the chain rule."""
    model = network(kind, 4, 3)
    weights = [weight_of(layer) for layer in model.layers]
    expected = torch.autograd.grad(weights, list(model.parameters()), [2 * w for w in weights], allow_unused=True)
    own = torch.autograd.grad(LpNorm(p=2.0, scale=1.0).penalty(model), list(model.parameters()), allow_unused=True)
    same_gradients(own, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_path_norm_gradient_is_that_of_the_product(network: Any, kind: Any) -> None:
    """d/dtheta of the closed form == of 1^T |W_K| ... |W_1| 1; in v it is 0 where the closed form has no v."""
    model = network(kind, 4, 3)
    product = path_norm_by_product([weight_of(layer) for layer in model.layers])
    expected = torch.autograd.grad(product, list(model.parameters()), allow_unused=True)
    own = torch.autograd.grad(PathNorm("improved").penalty(model), list(model.parameters()), allow_unused=True)
    same_gradients(own, expected)


def same_gradients(own: Any, expected: Any) -> None:
    for fast, slow in zip(own, expected, strict=True):
        zero = torch.zeros(1).double()
        fast, slow = (zero if gradient is None else gradient for gradient in (fast, slow))
        torch.testing.assert_close(*torch.broadcast_tensors(fast, slow), rtol=1e-11, atol=1e-12)


def test_path_norm_gradient_by_differences(network: Any) -> None:
    """dP/dg_k of P-Net by central differences."""
    model = network("pnet", 3, 2)
    g, h = model.layers[1].g, 1e-6
    (gradient,) = torch.autograd.grad(PathNorm("improved").penalty(model), g)
    values = []
    for move in (h, -2 * h):
        with torch.no_grad():
            g += move
        values.append(path_norm_by_product(model.weights()).item())
    assert gradient.item() == pytest.approx((values[0] - values[1]) / (2 * h), rel=1e-7)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "tanh"])
def test_path_norm_takes_slopes_of_at_most_one(network: Any, activation: Any) -> None:
    """Where the path norm is a bound, it fits."""
    PathNorm("improved").check(network("snet", 3, 2, activation=activation))


def test_path_norm_refuses_gelu(network: Any) -> None:
    """The rule, the constant and the remedy."""
    with pytest.raises(UsageError, match=r"slope at most 1, and the model's has 1\.129 \(take model\.activation=relu"):
        PathNorm("improved").check(network("pnet", 3, 2, activation="gelu"))


@pytest.mark.parametrize(
    ("regularizer", "message"),
    [
        (PathNorm("improved"), r"it needs a 1-path-norm, and Sequential offers no path_norm\(\)"),
        (LpNorm(p=1.0, scale=1.0), r"it needs the weights, and Sequential offers no power_sum\(p\)"),
    ],
)
def test_networks_without_weights_are_refused(regularizer: Any, message: Any) -> None:
    """A network that does not offer what the penalty reads is named."""
    with pytest.raises(UsageError, match=message):
        regularizer.check(nn.Sequential(nn.Linear(2, 1)))


def test_no_regularizer_takes_any_network() -> None:
    """None fits even a network that offers nothing."""
    model = nn.Sequential(nn.Linear(2, 1))
    Regularizer().check(model)
    assert Regularizer().penalty(model).item() == 0
