"""VGG networks of 3 x 3 convolutions in blocks, pooling between blocks, and one linear layer; channels are units."""

import copy
import itertools
from collections.abc import Sequence
from typing import Annotated, Any

import torch
from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from psilon_bench.errors import UsageError
from psilon_bench.models.compact import kept_entries
from psilon_bench.models.linear import Linear, powers, start
from psilon_bench.models.offers import HasCompact, HasPowerSum, HasUnits, Pair

Blocks = Annotated[list[Annotated[list[PositiveInt], Field(min_length=1)]], Field(min_length=1)]


class Conv(nn.Conv2d):
    """A 3 x 3 convolution that keeps height and width; it starts normal with variance 2 / fan_in, and with b = 0."""

    def __init__(self, in_channels: PositiveInt, out_channels: PositiveInt) -> None:
        super().__init__(in_channels, out_channels, kernel_size=3, padding=1)

    def reset_parameters(self) -> None:
        """Draw W anew and set b to 0."""
        start(self.weight, "kaiming")
        assert self.bias is not None
        nn.init.zeros_(self.bias)

    def power_sum(self, p: float) -> Float[Tensor, ""]:
        """Return sum |w|^p over the weights, without the bias."""
        return powers(self.weight, p).sum()


class VGG(nn.Module, HasCompact, HasPowerSum, HasUnits):
    r"""A network of convolutions with ReLU in `blocks`, the mean over the image, and one linear layer.

    `blocks` are the numbers of channels, [[64, 64], [128, 128], ...], with 2 x 2 max-pooling between them and without
    BatchNorm (Simonyan & Zisserman 2015; with one linear layer as in Yang et al. 2022). Convolutions (1, 2), (3, 4),
    ... are pairs, wherever blocks end, for pooling is homogeneous. UsageError where the inputs are no images, or images
    too small for the pooling.
    """

    homogeneous = True
    convolutions: Any  # nn.ModuleList of Conv

    def __init__(self, num_outputs: PositiveInt, input_shape: Sequence[int], blocks: Blocks) -> None:
        super().__init__()
        check_images(input_shape, 2 ** (len(blocks) - 1), "VGG", "model.blocks", "vgg_tiny")
        channels = [input_shape[0], *itertools.chain.from_iterable(blocks)]
        self.convolutions = nn.ModuleList(itertools.starmap(Conv, itertools.pairwise(channels)))
        self.pooled = set(itertools.accumulate(len(block) for block in blocks[:-1]))  # behind these convolutions
        self.classifier = Linear(channels[-1], num_outputs, "kaiming")

    def forward(self, x: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch output"]:
        """Return the logits of images."""
        for number, convolution in enumerate(self.convolutions, start=1):
            x = F.relu(convolution(x), inplace=True)
            if number in self.pooled:
                x = F.max_pool2d(x, 2)
        return self.classifier(x.mean(dim=(2, 3)))

    def units(self) -> list[Pair]:
        """Return convolutions (1, 2), (3, 4), ... as pairs."""
        return [Pair(*pair) for pair in zip(self.convolutions[::2], self.convolutions[1::2], strict=False)]

    def unpaired(self) -> list[nn.Module]:
        """Return the linear layer, and before it the last convolution where the number of convolutions is odd."""
        return [*self.convolutions[2 * len(self.units()) :], self.classifier]

    def weights(self) -> list[Float[Tensor, "_unit _fan_in *_kernel"]]:
        """Return the weights of all layers, without biases; a convolution has (out, in, 3, 3)."""
        return [layer.weight for layer in (*self.convolutions, self.classifier)]

    def power_sum(self, p: float) -> Float[Tensor, ""]:
        """Return sum |w|^p over all weights, without biases."""
        return sum((layer.power_sum(p) for layer in self.convolutions), start=self.classifier.power_sum(p))

    def plain(self) -> "VGG":
        """Return a copy, for the layers are plain."""
        return copy.deepcopy(self)

    @torch.no_grad()
    def compact(self) -> tuple["VGG", None]:
        """Return a network without dead channels, and None, for it takes whole images.

        A channel is dead that nothing reads or that is 0 everywhere. A channel that reads nothing is constant; it goes
        away where ReLU makes it 0 and stays elsewhere, for next to the zeros around the image it is more than a bias.
        """
        network = self.plain()
        chain = list(itertools.pairwise([*network.convolutions, network.classifier]))
        # forwards, a channel dies with all that it reads; backwards, with all that reads it
        for before, after in (*chain, *reversed(chain)):
            read = (after.weight != 0).transpose(0, 1).flatten(1).any(dim=1)
            alive = kept_entries(read & ((before.weight != 0).flatten(1).any(dim=1) | (before.bias > 0)))
            before.weight, before.bias = nn.Parameter(before.weight[alive]), nn.Parameter(before.bias[alive])
            after.weight = nn.Parameter(after.weight[:, alive])
        return network, None


def check_images(input_shape: Sequence[int], smallest: int, what: str, key: str, tiny: str) -> None:
    """Raise a UsageError unless inputs are images that can be halved as often as `key` of the configuration says.

    `smallest` is the height and width that this takes, `what` names the network and `tiny` a smaller option.
    """
    if len(input_shape) != 3:
        raise UsageError(
            f"A {what} network takes images (channels, height, width), but the inputs of this data set have the shape "
            f"{input_shape}. Take dataset=mnist, cifar10 or the like, or another model."
        )
    if min(input_shape[1:]) < smallest:
        raise UsageError(
            f"{key} halves images so often that they need {smallest} pixels, but these are "
            f"{input_shape[1]} x {input_shape[2]}. Make it shorter, or take model={tiny}."
        )
