"""VGG networks: 3 x 3 convolutions in blocks, pooling between blocks, one linear layer. Their channels are units."""

import copy
import itertools
from typing import Annotated, Any

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from psilon_bench.errors import UsageError
from psilon_bench.models.compact import kept
from psilon_bench.models.linear import Linear, powers, start
from psilon_bench.models.offers import HasCompact, HasPowerSum, HasUnits, Pair

Blocks = Annotated[list[Annotated[list[PositiveInt], Field(min_length=1)]], Field(min_length=1)]


class Conv(nn.Conv2d):
    """A 3 x 3 convolution that keeps height and width; Kaiming start, normal with variance 2 / fan_in, and b = 0."""

    def __init__(self, in_channels: PositiveInt, out_channels: PositiveInt) -> None:
        super().__init__(in_channels, out_channels, kernel_size=3, padding=1)

    def reset_parameters(self) -> None:
        """Draw W anew, set b to 0."""
        start(self.weight, "kaiming")
        assert self.bias is not None
        nn.init.zeros_(self.bias)

    def power_sum(self, p: float) -> Tensor:
        """sum |w|^p, the bias excluded."""
        return powers(self.weight, p).sum()


class VGG(nn.Module, HasCompact, HasPowerSum, HasUnits):
    r"""Convolutions with ReLU, 2 x 2 max-pooling between `blocks` of them; the mean over the image; one linear layer.

    blocks: the numbers of channels, [[64, 64], [128, 128], ...]. No BatchNorm. Convolutions (1, 2), (3, 4), ... are
    pairs, wherever blocks end: pooling is homogeneous. Simonyan & Zisserman 2015; one linear layer: Yang et al. 2022.
    """

    homogeneous = True
    convolutions: Any  # nn.ModuleList of Conv

    def __init__(self, num_outputs: PositiveInt, input_shape: tuple[int, ...], blocks: Blocks) -> None:
        super().__init__()
        check_images(input_shape, 2 ** (len(blocks) - 1), "VGG", "model.blocks", "vgg_tiny")
        channels = [input_shape[0], *itertools.chain.from_iterable(blocks)]
        self.convolutions = nn.ModuleList(itertools.starmap(Conv, itertools.pairwise(channels)))
        self.pooled = set(itertools.accumulate(len(block) for block in blocks[:-1]))  # after so many convolutions
        self.classifier = Linear(channels[-1], num_outputs, "kaiming")

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, outputs) of images (batch, channels, height, width)."""
        for number, convolution in enumerate(self.convolutions, start=1):
            x = F.relu(convolution(x), inplace=True)
            if number in self.pooled:
                x = F.max_pool2d(x, 2)
        return self.classifier(x.mean(dim=(2, 3)))

    def units(self) -> list[Pair]:
        """Convolutions (1, 2), (3, 4), ... as pairs."""
        return [Pair(*pair) for pair in zip(self.convolutions[::2], self.convolutions[1::2], strict=False)]

    def unpaired(self) -> list[nn.Module]:
        """The linear layer, and before it the last convolution where their number is odd."""
        return [*self.convolutions[2 * len(self.units()) :], self.classifier]

    def weights(self) -> list[Tensor]:
        """The weights of all layers, (out, in, 3, 3) of convolutions; biases are not among them."""
        return [layer.weight for layer in (*self.convolutions, self.classifier)]

    def power_sum(self, p: float) -> Tensor:
        """sum |w|^p over all weights."""
        return sum((layer.power_sum(p) for layer in self.convolutions), start=self.classifier.power_sum(p))

    def plain(self) -> "VGG":
        """A copy: its layers are plain."""
        return copy.deepcopy(self)

    @torch.no_grad()
    def compact(self) -> tuple["VGG", None]:
        """A network without the channels that nobody reads or that are 0 everywhere, and None: it takes whole images.

        A channel that reads nothing is constant; it goes away where ReLU makes it 0, and stays where it does not, for
        the zeros around the image make more of it than a bias.
        """
        network = self.plain()
        chain = list(itertools.pairwise([*network.convolutions, network.classifier]))
        for before, after in (*chain, *reversed(chain)):  # what is 0 makes what reads it alone 0, and backwards
            read = (after.weight != 0).transpose(0, 1).flatten(1).any(dim=1)
            alive = kept(read & ((before.weight != 0).flatten(1).any(dim=1) | (before.bias > 0)))
            before.weight, before.bias = nn.Parameter(before.weight[alive]), nn.Parameter(before.bias[alive])
            after.weight = nn.Parameter(after.weight[:, alive])
        return network, None


def check_images(input_shape: tuple[int, ...], smallest: int, what: str, key: str, tiny: str) -> None:
    """UsageError unless inputs are images that can be halved as often as `key` says."""
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
