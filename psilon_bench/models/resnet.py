"""Residual networks with BatchNorm, as CIFAR has them."""

import copy
import itertools
from typing import Annotated, Any

from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from psilon_bench.models.linear import Depth, Init, Linear, powers, start
from psilon_bench.models.offers import HasPlain, HasPowerSum, HasWeights
from psilon_bench.models.vgg import check_images


class Convolution(nn.Conv2d):
    """A convolution without bias that pads what it needs to keep height and width at stride 1; it starts as told."""

    def __init__(
        self, in_channels: PositiveInt, out_channels: PositiveInt, kernel_size: int, stride: int, init: Init
    ) -> None:
        self.init: Init = init
        super().__init__(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False)

    def reset_parameters(self) -> None:
        """Draw W anew."""
        start(self.weight, self.init)

    def power_sum(self, p: float) -> Tensor:
        """sum |w|^p."""
        return powers(self.weight, p).sum()


class Block(nn.Module):
    """relu(skip(h) + BN(conv(relu(BN(conv(h)))))), 3 x 3 convolutions, the first with the stride.

    skip is the identity, or a 1 x 1 convolution with BatchNorm where the size or the number of channels changes.
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

    def forward(self, h: Tensor) -> Tensor:
        """(batch, in, height, width) -> (batch, out, height / stride, width / stride), rounded up."""
        inner = F.relu(self.norm1(self.conv1(h)))
        return F.relu(self.skip(h) + self.norm2(self.conv2(inner)))


class ResNet(nn.Module, HasPlain, HasPowerSum, HasWeights):
    r"""A 3 x 3 convolution with BatchNorm, stages of `per_stage` residual blocks, the mean over it, a linear layer.

    channels: one number a stage; every stage but the first halves height and width. He et al. 2016 with blocks of two
    convolutions; with [64, 128, 256, 512] and 2 it is ResNet18 without its stem's stride and pooling, as usual for
    CIFAR. BatchNorm (Ioffe & Szegedy 2015): by the batch in training, by running means and variances elsewhere.
    """

    stem: Any  # Convolution
    blocks: Any  # nn.ModuleList of Block

    def __init__(
        self,
        num_outputs: PositiveInt,
        input_shape: tuple[int, ...],
        channels: Annotated[list[PositiveInt], Field(min_length=1)],
        per_stage: Depth,
        init: Init = "uniform",
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

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, outputs) of images (batch, channels, height, width)."""
        h = F.relu(self.norm(self.stem(x)))
        for block in self.blocks:
            h = block(h)
        return self.classifier(h.mean(dim=(2, 3)))

    def layers(self) -> list[Any]:
        """Convolutions and the linear layer, those of a skip behind those it skips."""
        return [layer for layer in self.modules() if isinstance(layer, Convolution | Linear)]

    def weights(self) -> list[Tensor]:
        """Of all layers, (out, in, height, width) of convolutions; BatchNorm's gains and biases are not among them."""
        return [layer.weight for layer in self.layers()]

    def power_sum(self, p: float) -> Tensor:
        """sum |w|^p over all weights."""
        first, *rest = self.layers()
        return sum((layer.power_sum(p) for layer in rest), start=first.power_sum(p))

    def plain(self) -> "ResNet":
        """A copy: its layers are plain."""
        return copy.deepcopy(self)
