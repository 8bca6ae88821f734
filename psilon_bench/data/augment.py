"""Random crop and flip of training images, the usual augmentation of CIFAR-10 (He et al. 2016, section 4.2)."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class CropAndFlip:
    """Pads each image of a batch, crops it at a random position to its size, and flips it with probability 1/2.

    All images of a batch are taken in one gather, on the device of the batch. `padding` is in pixels, on each side.
    `black` is the value of a black pixel after normalisation, per channel; the normalisation is fitted on the training
    rows, so tasks with other splits have another `black`.
    """

    padding: int
    black: tuple[float, ...]

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Return the augmented batch, (n, channels, height, width) as `x`; `generator` lies on the device of `x`."""
        n, channels, height, width = x.shape
        padded = self._padded(x)
        shift = torch.randint(2 * self.padding + 1, (2, n, 1), generator=generator, device=x.device)
        flip = torch.randint(2, (n, 1), generator=generator, device=x.device, dtype=torch.bool)
        rows = shift[0] + torch.arange(height, device=x.device)
        column = torch.arange(width, device=x.device).expand(n, width)
        columns = shift[1] + torch.where(flip, column.flip(1), column)
        image = torch.arange(n, device=x.device)[:, None, None, None]
        channel = torch.arange(channels, device=x.device)[None, :, None, None]
        return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]

    def _padded(self, x: Tensor) -> Tensor:
        """Return the batch with `padding` black pixels on each side of every image."""
        n, _, height, width = x.shape
        p = self.padding
        black = torch.tensor(self.black, dtype=x.dtype, device=x.device)[:, None, None]
        padded = black.repeat(n, 1, height + 2 * p, width + 2 * p)
        padded[:, :, p : p + height, p : p + width] = x
        return padded
