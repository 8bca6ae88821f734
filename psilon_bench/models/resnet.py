"""Residual networks with BatchNorm, of the kind that is usual for images of CIFAR's size."""

import copy
import itertools
from collections.abc import Sequence
from typing import Annotated, Any

from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from psilon_bench.models.linear import Depth, Init, Linear, powers, start
from psilon_bench.models.offers import HasPlain, HasPowerSum, HasWeights
from psilon_bench.models.vgg import check_images


class Convolution(nn.Conv2d):
    """A convolution without a bias that keeps height and width at stride 1; it starts as `init` of `Linear` says."""

    def __init__(
        self, in_channels: PositiveInt, out_channels: PositiveInt, kernel_size: int, stride: int, init: Init
    ) -> None:
        self.init: Init = init
        super().__init__(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False)

    def reset_parameters(self) -> None:
        """Draw W anew."""
        start(self.weight, self.init)

    def power_sum(self, p: float) -> Float[Tensor, ""]:
        """Return sum |w|^p over the weights."""
        return powers(self.weight, p).sum()


class Block(nn.Module):
    """A block h -> relu(skip(h) + BN(conv(relu(BN(conv(h)))))) of 3 x 3 convolutions, the first with the stride.

    The skip is the identity, or a 1 x 1 convolution with BatchNorm where the size or the number of channels changes.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, init: Init) -> None:
        super().__init__()
        self.conv1 = Convolution(in_channels, out_channels, 3, stride, init)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = Convolution(out_channels, out_channels, 3, 1, init)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.skip = nn.Sequential(
                Convolution(in_channels, out_channels, 1, stride, init), nn.BatchNorm2d(out_channels)
            )

    def forward(self, h: Float[Tensor, "batch in h w"]) -> Float[Tensor, "batch out smaller_h smaller_w"]:
        """Return the block's outputs, whose height and width are those of h divided by the stride, rounded up."""
        inner = F.relu(self.norm1(self.conv1(h)))
        return F.relu(self.skip(h) + self.norm2(self.conv2(inner)))


class ResNet(nn.Module, HasPlain, HasPowerSum, HasWeights):
    r"""A network of a 3 x 3 convolution, stages of residual blocks with BatchNorm, the mean over the image, a layer.

    `channels` holds a number for each stage of `per_stage` blocks; every stage but the first halves height and width.
    The blocks are those of He et al. 2016 with two convolutions; with [64, 128, 256, 512] and 2 the network is ResNet18
    without the stride and pooling of its stem, as usual for CIFAR. BatchNorm (Ioffe & Szegedy 2015) normalises by the
    batch in training and by running means and variances elsewhere. UsageError where the inputs are no images, or images
    too small for the stages.
    """

    stem: Any  # Convolution
    blocks: Any  # nn.ModuleList of Block

    def __init__(
        self,
        num_outputs: PositiveInt,
        input_shape: Sequence[int],
        channels: Annotated[list[PositiveInt], Field(min_length=1)],
        per_stage: Depth,
        init: Init,
    ) -> None:
        super().__init__()
        # a channel of one pixel and a batch of one image have no variance
        check_images(input_shape, 2 ** (len(channels) - 1) + 1, "ResNet", "model.channels", "resnet_tiny")
        self.stem = Convolution(input_shape[0], channels[0], 3, 1, init)
        self.norm = nn.BatchNorm2d(channels[0])
        widths = [channels[0], *(width for width in channels for _ in range(per_stage))]
        self.blocks = nn.ModuleList(
            Block(before, after, 2 if number and number % per_stage == 0 else 1, init)
            for number, (before, after) in enumerate(itertools.pairwise(widths))
        )
        self.classifier = Linear(channels[-1], num_outputs, init)

    def forward(self, x: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch output"]:
        """Return the logits of images."""
        h = F.relu(self.norm(self.stem(x)))
        for block in self.blocks:
            h = block(h)
        return self.classifier(h.mean(dim=(2, 3)))

    def layers(self) -> list[Any]:
        """Return the convolutions and the linear layer; the convolution of a skip comes behind those that it skips."""
        return [layer for layer in self.modules() if isinstance(layer, Convolution | Linear)]

    def weights(self) -> list[Float[Tensor, "_unit _fan_in *_kernel"]]:
        """Return the weights of convolutions and of the linear layer, without BatchNorm's gains and without biases."""
        return [layer.weight for layer in self.layers()]

    def power_sum(self, p: float) -> Float[Tensor, ""]:
        """Return sum |w|^p over all weights."""
        first, *rest = self.layers()
        return sum((layer.power_sum(p) for layer in rest), start=first.power_sum(p))

    def plain(self) -> "ResNet":
        """Return a copy, for the layers are plain."""
        return copy.deepcopy(self)
