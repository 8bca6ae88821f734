"""Residual networks with BatchNorm: sizes, the network by hand in both modes, what fits them and what does not."""

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from psilon_bench.config.options import options
from psilon_bench.errors import UsageError
from psilon_bench.models.resnet import ResNet
from psilon_bench.regularizers.shrunk import shrunk

SMALL: dict[str, Any] = {
    "num_outputs": 3,
    "input_shape": (2, 5, 7),
    "channels": [4, 6],
    "per_stage": 2,
    "init": "uniform",
}


@pytest.fixture
def small() -> Any:
    """In float64, with random gains, biases, running means and variances."""
    model = ResNet(**SMALL).double()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                value.copy_(torch.rand_like(value) + 0.2 if "running" in name else torch.randn_like(value))
    return model


def test_resnet18_is_the_usual_one_for_cifar() -> None:
    """11,173,962 parameters, 20 convolutions and a linear layer, three skips that are no identity, 4 x 4 at the end."""
    model = options("model")["resnet18"].build(num_outputs=10, input_shape=(3, 32, 32))
    assert sum(parameter.numel() for parameter in model.parameters()) == 11_173_962
    assert len(model.weights()) == 21
    assert sum(weight.shape[-1] == 1 for weight in model.weights()) == 3
    assert [weight.shape[0] for weight in model.weights()[:6]] == [64] * 5 + [128]
    h = torch.zeros(1, 64, 32, 32)
    for block in model.blocks:
        h = block(h)
    assert h.shape == (1, 512, 4, 4)
    bound = (512 * 9) ** -0.5
    assert 0.99 * bound < model.blocks[-1].conv2.weight.abs().max() <= bound
    tiny = options("model")["resnet_tiny"].build(num_outputs=10, input_shape=(3, 32, 32))
    assert sum(parameter.numel() for parameter in tiny.parameters()) == 78_042


def normalised(x: Any, norm: Any, training: Any) -> Any:
    """(x - mean) / sqrt(variance + eps) per channel, by the batch or by what is kept; gain and bias."""
    if training:
        mean, variance = x.mean(dim=(0, 2, 3)), x.var(dim=(0, 2, 3), correction=0)
    else:
        mean, variance = norm.running_mean, norm.running_var
    scaled = (x - mean[:, None, None]) / (variance + norm.eps).sqrt()[:, None, None]
    return scaled * norm.weight[:, None, None] + norm.bias[:, None, None]


def by_hand(model: Any, x: Any, training: Any) -> Any:
    """The forward pass in formulas."""
    h = F.relu(normalised(F.conv2d(x, model.stem.weight, padding=1), model.norm, training))
    for number, block in enumerate(model.blocks):
        stride = 2 if number == 2 else 1
        inner = F.relu(normalised(F.conv2d(h, block.conv1.weight, stride=stride, padding=1), block.norm1, training))
        inner = normalised(F.conv2d(inner, block.conv2.weight, padding=1), block.norm2, training)
        if stride == 2:
            h = normalised(F.conv2d(h, block.skip[0].weight, stride=2), block.skip[1], training)
        h = F.relu(h + inner)
    return F.linear(h.mean(dim=(2, 3)), model.classifier.weight, model.classifier.bias)


@pytest.mark.parametrize("training", [False, True])
def test_it_is_the_formula(small: Any, training: Any) -> None:
    """In evaluation a row has the same logits whatever its neighbours are."""
    x = torch.randn(6, 2, 5, 7).double()
    expected = by_hand(small, x, training)
    torch.testing.assert_close(small.train(training)(x), expected, rtol=1e-10, atol=1e-12)
    alone = small.eval()(x[:1])
    assert torch.allclose(alone, expected[:1], rtol=1e-10) != training


def test_what_training_keeps(small: Any) -> None:
    """A tenth of the batch's mean and (unbiased) variance, nine tenths of what was there."""
    x, before = torch.randn(6, 2, 5, 7).double(), small.norm.running_var.clone()
    small.train()(x)
    stem = F.conv2d(x, small.stem.weight, padding=1)
    torch.testing.assert_close(small.norm.running_var, 0.9 * before + 0.1 * stem.var(dim=(0, 2, 3)))
    assert small.norm.num_batches_tracked == small.blocks[-1].norm2.num_batches_tracked


def test_decay_leaves_batchnorm_alone(small: Any) -> None:
    """The weights alone, and the linear layer's; each group can be let in, norms by `norms`."""
    weights = shrunk(small, ["biases", "gains", "norms"])
    assert len(weights) == len(small.weights()) == 11
    assert {id(weight) for weight in weights.values()} == {id(weight) for weight in small.weights()}
    with_norms = shrunk(small, ["biases", "gains"]).keys() - weights.keys()
    assert len(with_norms) == 2 * 10
    assert shrunk(small, ["gains", "norms"]).keys() - weights.keys() == {"classifier.bias"}
    assert shrunk(small, []).keys() == dict(small.named_parameters()).keys()


def test_what_needs_another_structure_is_refused(small: Any) -> None:
    """Every regularizer either takes the weights or says in one line what the network lacks; so do pruners."""
    refused = {}
    for name, section in options("reg").items():
        try:
            section.build().check(small)
        except UsageError as told:
            refused[name] = str(told)
    assert {"pathnorm", "pathprox"} <= refused.keys()
    assert refused.keys().isdisjoint({"none", "l2", "p_norm_decay"})
    assert all("ResNet" in told and "\n" not in told for told in refused.values())
    penalty = options("reg")["lasso"].build().penalty(small)
    torch.testing.assert_close(penalty, sum(weight.abs().sum() for weight in small.weights()))


def test_images_that_are_too_small_are_refused() -> None:
    """The last image needs two pixels: one has no variance. 5 x 7 is enough for three stages, not for four."""
    model = ResNet(**SMALL | {"channels": [2, 2, 2]})
    assert model.train()(torch.randn(1, 2, 5, 7)).isfinite().all()
    with pytest.raises(UsageError, match=r"model\.channels halves .* need 9 pixels, but these are 5 x 7\. Make it sho"):
        ResNet(**SMALL | {"channels": [2, 2, 2, 2]})
    with pytest.raises(UsageError, match=r"A ResNet network takes images"):
        ResNet(3, (13,), [4], 1, "uniform")
