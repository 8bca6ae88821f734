"""A network in float64 is the network as evaluated, and its layers are the network itself, or it is refused."""

from typing import Any

import pytest
import torch

from psilon_bench.errors import UsageError
from psilon_bench.metrics.exact_network import exact_network
from psilon_bench.metrics.pairwise import pairwise_radii
from psilon_bench.models.mlp import MLP


@pytest.mark.parametrize("kind", ["pnet", "snet"])
@pytest.mark.parametrize("size", [0.0, 1e-25, 1e-20, 1e-15])
def test_short_rows_are_divided_alike_in_all_precisions(network: Any, kind: str, size: float) -> None:
    """A row too short for float32 to divide by its norm has no weights in float64 either."""
    single = network(kind, 5, 3).float()
    with torch.no_grad():
        single.layers[0].v[1] *= size
    x = torch.randn(20, 5)
    torch.testing.assert_close(exact_network(single, "multiclass").logits(x.double()).float(), single(x))


def test_another_forward_pass_is_refused() -> None:
    """A subclass whose slopes are those of its base would be certified as that."""

    class Louder(MLP):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 3 * super().forward(x)

    for scale in (1.0, 1e6):
        model = Louder(4, 3, 5, 2, 1, True, "relu", "orthogonal")
        with torch.no_grad():
            model.layers[0].g *= scale
        with pytest.raises(UsageError, match="slope_layers of Louder is another function"):
            exact_network(model, "multiclass")


def test_radii_of_nearly_constant_networks_are_rounded_down(network: Any) -> None:
    """A margin so large that its change by one is lost in float64 has a finite radius; a constant has none."""
    model, x, y = network("plain", 2, 2), torch.zeros(1, 2).double(), torch.tensor([0])
    with torch.no_grad():
        for layer in model.layers:
            layer.bias.zero_()
            layer.weight.fill_(1.0)
        model.layers[-1].weight.copy_(torch.tensor([[1.0] * 4, [0.0] * 4]))
        for bias, largest in ((1.0, 1.0), (1e18, 1e18)):
            model.layers[-1].bias[0] = bias
            (radius,) = pairwise_radii(exact_network(model, "multiclass"), x, y)
            assert 0 < radius <= largest / 32
        model.layers[-1].weight.zero_()
        assert pairwise_radii(exact_network(model, "multiclass"), x, y).item() == torch.inf
