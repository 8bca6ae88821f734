"""The networks: their layers, the path norm three ways, and what it bounds."""

from typing import Any

import pytest
import torch
from reference import forward, path_norm_by_paths, path_norm_by_product, weight_of

from psilon_bench.models.mlp import ACTIVATIONS, MLP
from psilon_bench.models.path_norm import path_norm

KINDS = ["pnet", "rows", "snet", "shared", "plain"]
SHAPES = [(3, 2, 4, 2), (1, 1, 1, 1), (5, 3, 2, 3), (2, 4, 5, 1)]


def test_the_layers_of_pnet() -> None:
    """One shared g in every layer but the last, which has one per output; q = 1 everywhere."""
    model = MLP(7, 3, 5, 2, 1, True, "relu", "orthogonal")
    assert [tuple(layer.v.shape) for layer in model.layers] == [(5, 7), (5, 5), (3, 5)]
    assert [layer.g.numel() for layer in model.layers] == [1, 1, 3]
    assert {layer.q for layer in model.layers} == {1}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("features", "outputs", "hidden", "depth"), SHAPES)
class TestPathNorm:
    def test_closed_form_product_and_paths_agree(
        self, network: Any, kind: Any, features: Any, outputs: Any, hidden: Any, depth: Any
    ) -> None:
        """path_norm() == 1^T |W_K| ... |W_1| 1 == the sum over all paths, lengths of both signs included."""
        torch.manual_seed(hidden + depth)
        model = network(kind, features, outputs, hidden, depth)
        weights = [weight_of(layer) for layer in model.layers]
        assert model.path_norm().item() == pytest.approx(path_norm_by_paths(weights), rel=1e-12)
        assert path_norm(weights).item() == pytest.approx(path_norm_by_paths(weights), rel=1e-12)
        assert path_norm_by_product(weights).item() == pytest.approx(path_norm_by_paths(weights), rel=1e-12)

    def test_forward_and_weights_are_those_of_the_built_network(
        self, network: Any, kind: Any, features: Any, outputs: Any, hidden: Any, depth: Any
    ) -> None:
        """f(x) from built weights; weights() lists them from the input side."""
        model, x = network(kind, features, outputs, hidden, depth), torch.randn(6, features).double()
        torch.testing.assert_close(model(x), forward(model, x), rtol=1e-12, atol=1e-12)
        for weight, layer in zip(model.weights(), model.layers, strict=True):
            torch.testing.assert_close(weight, weight_of(layer), rtol=1e-12, atol=1e-14)

    @pytest.mark.parametrize("p", [1, 1.5, 2])
    def test_power_sum_is_over_all_layers(
        self, network: Any, kind: Any, features: Any, outputs: Any, hidden: Any, depth: Any, p: Any
    ) -> None:
        """sum |w|^p over the weights of all layers, biases excluded."""
        model = network(kind, features, outputs, hidden, depth)
        expected = sum((weight_of(layer).abs() ** p).sum().item() for layer in model.layers)
        assert model.power_sum(p).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.sampled(every=4)
@pytest.mark.parametrize("kind", ["pnet", "snet", "plain"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_bound_holds(network: Any, kind: Any, activation: Any) -> None:
    """|f(x) - f(y)|_1 <= bound * |x - y|_inf for pairs far and near; the path norm is the bound where slopes <= 1."""
    for seed in range(20):
        torch.manual_seed(seed)
        model = network(kind, 4, 3, hidden=6, depth=1 + seed % 3, activation=activation)
        x = torch.randn(500, 4).double() * 10 ** torch.linspace(-2, 2, 500)[:, None].double()
        y = x + torch.randn_like(x) * 10 ** torch.empty(500, 1).uniform_(-4, 1).double()
        moved, distance = (model(x) - model(y)).abs().sum(1), (x - y).abs().amax(1)
        bound = model.lipschitz_bound()
        assert (moved <= bound * distance * (1 + 1e-9)).all()
        if activation != "gelu":
            torch.testing.assert_close(bound, model.path_norm())


def test_the_bound_is_met() -> None:
    """With positive weights and inputs, an equal step of all inputs reaches the path norm: no smaller bound."""
    model = MLP(3, 2, 4, 2, 1, True, "relu", "orthogonal").double()
    with torch.no_grad():
        for layer in model.layers:
            layer.v.copy_(torch.rand_like(layer.v) + 0.1)
    x = torch.rand(1, 3).double() + 1
    assert (model(x + 0.5) - model(x)).abs().sum().item() == pytest.approx(0.5 * model.path_norm().item(), rel=1e-12)


def test_constants_of_the_activations() -> None:
    """The steepest slope over a fine grid is the table's constant, GELU's included (1.129 at the square root of 2)."""
    x = torch.linspace(-6, 6, 100_001).double()
    names: list[Any] = list(ACTIVATIONS)
    for name in names:
        model = MLP(1, 1, 1, 1, None, False, name, "orthogonal")
        y = model.activation(x.clone())
        slope = (y.diff() / x.diff()).abs().max().item()
        assert slope <= model.lipschitz_activation * (1 + 1e-9)
        assert slope == pytest.approx(model.lipschitz_activation, rel=1e-3)


def test_gelu_pays_for_every_hidden_layer(network: Any) -> None:
    """bound = path norm * 1.129 ^ (hidden layers)."""
    model = network("pnet", 3, 2, depth=3, activation="gelu")
    assert model.lipschitz_bound().item() == pytest.approx(model.path_norm().item() * 1.129**3, rel=1e-12)


def test_a_dead_row_keeps_the_bound(network: Any) -> None:
    """With v_j = 0 the closed form stays above the product, so it still bounds the function."""
    model = network("pnet", 3, 2)
    with torch.no_grad():
        model.layers[0].v[1] = 0
    assert model.path_norm() >= path_norm(model.weights())


def test_images_are_flattened_and_left_alone(network: Any) -> None:
    """(batch, channels, height, width) is a row of inputs each, and the caller's tensor does not change."""
    model, x = network("plain", 12, 2), torch.randn(3, 1, 4, 3).double()
    before = x.clone()
    assert torch.equal(model(x), model(x.reshape(3, 12)))
    assert torch.equal(x, before)


def test_the_start_follows_the_seed() -> None:
    """Same seed, same network; another seed, another."""
    states = []
    for seed in (4, 4, 5):
        torch.manual_seed(seed)
        model = MLP(5, 2, 4, 2, 1, True, "relu", "orthogonal")
        states.append(torch.cat([value.flatten() for value in model.state_dict().values()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])
