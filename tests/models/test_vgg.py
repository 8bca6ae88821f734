"""VGG networks and factorised MLPs: sizes, pairs, and the network as torch's own layers would make it."""

from typing import Any

import pytest
import torch
from torch import nn
from unit_networks import KINDS, unit_network

from psilon_bench.config.options import options
from psilon_bench.errors import UsageError
from psilon_bench.models.units import all_layers, incoming_norms, outgoing_norms
from psilon_bench.models.vgg import VGG


def test_vgg19_is_the_papers() -> None:
    """16 convolutions and one linear layer, 20,029,514 parameters, 8 pairs with 2752 units, none across a pool."""
    model = options("model")["vgg19"].build(num_outputs=10, input_shape=(3, 32, 32))
    assert sum(parameter.numel() for parameter in model.parameters()) == 20_029_514
    assert [len(pair.incoming.weight) for pair in model.units()] == [64, 128, 256, 256, 512, 512, 512, 512]
    assert model.pooled == {2, 4, 8, 12}
    assert [type(layer).__name__ for layer in model.unpaired()] == ["Linear"]
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
    deepest = model.convolutions[-1].weight
    assert deepest.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)
    assert not model.convolutions[-1].bias.any()


def test_vgg_is_the_sequence_of_torchs_layers() -> None:
    """Convolution, ReLU, pooling behind each block but the last, the mean over the image, the linear layer."""
    model, x = unit_network("vgg")
    assert isinstance(model, VGG)
    pool = nn.MaxPool2d(2)
    layers: list[nn.Module] = []
    for number, convolution in enumerate(model.convolutions, start=1):
        layers += [convolution, nn.ReLU(), *([pool] if number in (1, 3) else [])]
    sequence = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), model.classifier)
    torch.testing.assert_close(model(x), sequence(x), rtol=1e-13, atol=0)


def test_mlp_3_400_is_the_papers() -> None:
    """784-400-400 | 400-400-400 | 400-400-10 with an activation inside each pair alone; starts as torch's layers do."""
    model = options("model")["mlp_factorized"].build(num_features=784, num_outputs=10)
    assert sum(parameter.numel() for parameter in model.parameters()) == 959_610
    assert [len(pair.incoming.weight) for pair in model.units()] == [400, 400, 400]
    x = torch.randn(5, 784)
    inside = [part for pair in model.units() for part in (pair.incoming, nn.ReLU(), pair.outgoing)]
    torch.testing.assert_close(model(x.view(5, 1, 28, 28)), nn.Sequential(*inside)(x))
    for layer in model.layers:
        bound = layer.in_features**-0.5
        assert 0.99 * bound < layer.weight.abs().max() <= bound
        assert 0.5 * bound < layer.bias.abs().max() <= bound


@pytest.mark.parametrize("kind", KINDS)
def test_units_can_be_rescaled(kind: Any) -> None:
    """Every layer is in one pair or in none, and no output changes when w_k, a_k are multiplied, v_k divided by c."""
    model, x = unit_network(kind)
    layers = all_layers(model)
    assert len({id(layer) for layer in layers}) == len(layers) == len(model.weights())
    before, norms = model(x), [(incoming_norms(pair), outgoing_norms(pair)) for pair in model.units()]
    with torch.no_grad():
        for pair in model.units():
            for k in range(len(pair.incoming.weight)):
                pair.incoming.weight[k] *= k + 0.3
                pair.incoming.bias[k] *= k + 0.3
                pair.outgoing.weight[:, k] /= k + 0.3
    torch.testing.assert_close(model(x), before, rtol=1e-11, atol=1e-12)
    for pair, (incoming, outgoing) in zip(model.units(), norms, strict=True):
        factors = torch.arange(len(incoming)) + 0.3
        torch.testing.assert_close(incoming_norms(pair), incoming * factors.double())
        torch.testing.assert_close(outgoing_norms(pair), outgoing / factors.double())


def test_rows_that_are_no_images_are_refused() -> None:
    """The rule, the shape and the remedy; and images that are too small for the pools."""
    with pytest.raises(UsageError, match=r"takes images .* have the shape \(13,\)\. Take dataset=mnist"):
        VGG(3, (13,), [[4, 4]])
    with pytest.raises(
        UsageError, match=r"need 4 pixels, but these are 3 x 8\. Make it shorter, or take model=vgg_tiny"
    ):
        VGG(3, (1, 3, 8), [[4], [4], [4]])
