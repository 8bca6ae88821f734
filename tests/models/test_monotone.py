"""A monotone output never moves the other way, and its certificates know of the linear term that makes it so."""

from typing import Any

import pytest
import torch

from psilon_bench.metrics.crown import crown_margins
from psilon_bench.metrics.exact_network import exact_network
from psilon_bench.metrics.pairwise import pairwise_margins
from psilon_bench.models.crelu_resnet import CReLUResNet
from psilon_bench.models.factorized_mlp import FactorizedMLP
from psilon_bench.models.mlp import MLP
from psilon_bench.training.stack import Stack

KINDS = ("pnet", "snet", "plain", "leaky_relu", "tanh", "gelu", "factorized", "residual")
DIRECTIONS = torch.tensor([1.0, 0.0, -1.0, 0.0, 1.0])


def monotone(kind: str, directions: torch.Tensor = DIRECTIONS, depth: int = 2) -> Any:
    """A network in float32 with random parameters, biases among them."""
    n = len(directions)
    if kind == "residual":
        model: Any = CReLUResNet(n, 1, 6, depth, 1, True)
    elif kind == "factorized":
        model = FactorizedMLP(n, 1, 6, depth, "relu", "orthogonal")
    else:
        q: Any = {"pnet": 1, "snet": 2}.get(kind)
        activation: Any = kind if kind in ("leaky_relu", "tanh", "gelu") else "relu"
        model = MLP(n, 1, 6, depth, q, kind == "pnet", activation, "orthogonal")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter))
    model.directions = directions.clone()
    return model.eval()


@pytest.mark.parametrize("kind", KINDS)
def test_no_pair_moves_the_other_way(kind: str) -> None:
    """Of 10^6 pairs in all kinds, as float32 evaluates them; without the term many do."""
    wrong, without = 0, 0
    for seed in range(5):
        torch.manual_seed(seed)
        model = monotone(kind)
        x, moves = torch.randn(25_000, 5), torch.randn(25_000, 5).abs() * (torch.rand(25_000, 5) < 0.5)
        with torch.no_grad():
            change = model(x + moves * DIRECTIONS) - model(x)
            own = change - ((moves * DIRECTIONS) * model.trend()).sum(dim=1, keepdim=True)
        wrong, without = wrong + int((change < 0).sum()), without + int((own < 0).sum())
    assert wrong == 0
    assert without > 20_000


def test_the_steepest_descent_is_outweighed() -> None:
    """Where every path goes down, g = -x, the output still rises: by the margin."""
    model = MLP(1, 1, 1, 1, None, False, "relu", "orthogonal").double()
    with torch.no_grad():
        model.layers[0].weight.fill_(1.0)
        model.layers[1].weight.fill_(-1.0)
    model.directions = torch.ones(1).double()
    x = torch.tensor([[1.0], [2.0]]).double()
    low, high = model(x)[:, 0].tolist()
    assert high - low == pytest.approx(2.0**-10)
    assert model.input_bounds().item() == pytest.approx(2 + 2.0**-10)


@pytest.mark.sampled(every=2)
@pytest.mark.parametrize("kind", KINDS)
def test_the_term_is_trained_through(kind: str) -> None:
    """Its gradient is that of finite differences."""
    model = monotone(kind).double()
    x = torch.randn(3, 5).double()
    names, values = zip(*model.named_parameters(), strict=True)

    def outputs(*parameters: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(model, dict(zip(names, parameters, strict=True)), (x,))

    assert torch.autograd.gradcheck(outputs, values)


@pytest.mark.parametrize("kind", KINDS)
def test_smaller_stacked_and_plain_networks_are_the_same(kind: str) -> None:
    """The plain one, the compact one on the inputs that it takes, and each member of a stack."""
    models = [monotone(kind) for _ in range(2)]
    model, x = models[0].double(), torch.randn(9, 5).double()
    models[1].double().directions.neg_()
    plain = model.plain()
    with torch.no_grad():
        first = plain.first if kind == "residual" else plain.layers[0]
        first.weight[:, [1, 2]] = 0  # two inputs that nobody reads
    compact, inputs = plain.compact()
    assert inputs.tolist() == [0, 3, 4]
    assert compact.directions.tolist() == [1, 0, 1]
    torch.testing.assert_close(compact(x[:, inputs]), plain(x))
    torch.testing.assert_close(compact.input_bounds(), plain.input_bounds()[inputs])
    assert plain.directions.tolist() == model.directions.tolist() == DIRECTIONS.tolist()
    torch.testing.assert_close(model.plain()(x), model(x))
    stacked = Stack(models).map(lambda network, rows: network(rows), x, in_dims=(None,))
    torch.testing.assert_close(stacked, torch.stack([one(x) for one in models]))


@pytest.mark.parametrize("kind", KINDS)
def test_certificates_hold_with_the_term(kind: str) -> None:
    """No Jacobian is above the bounds of the inputs, no corner below those of the margins; all are rounded up."""
    model, x = monotone(kind, depth=3), torch.randn(40, 5)
    net, y = exact_network(model, "binary"), (model(x) > 0).flatten().long()
    slopes = torch.func.vmap(torch.func.jacrev(lambda row: net.network(row[None])[0, 0]))(x.double())
    assert (slopes * DIRECTIONS >= 0).all()
    assert (slopes.abs() <= net.input_bounds() * (1 + 1e-9)).all()
    torch.testing.assert_close(net.input_bounds().float(), model.input_bounds().detach(), rtol=1e-4, atol=1e-6)
    assert (net.input_bounds() >= model.double().input_bounds()).all()
    for bound in (pairwise_margins, crown_margins) if net.piecewise_linear else (pairwise_margins,):
        lower = bound(net, x.double(), y, 0.05)
        for _ in range(30):
            logits = net.logits(x.double() + 0.05 * torch.randn(40, 5).double().sign())
            margins = logits.gather(1, y[:, None]) - logits
            others = torch.nn.functional.one_hot(y, 2) == 0
            assert (lower[others] <= margins[others]).all()


def test_without_columns_nothing_changes() -> None:
    """No buffer, no term."""
    assert MLP(2, 3, 2, 1, 1, True, "relu", "orthogonal").state_dict().keys() == {
        *("layers.0.v", "layers.0.g", "layers.0.bias", "layers.1.v", "layers.1.g", "layers.1.bias")
    }
