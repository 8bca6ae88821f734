"""The usual augmentation of CIFAR-10, on the batch's own device: pad, crop back at random, flip every other image."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class CropAndFlip:
    """One gather for the whole batch. `black` is what a black pixel is after normalisation, per channel.

    The normalisation is fitted on the training rows, so tasks with other splits have another `black`.
    """

    padding: int
    black: tuple[float, ...]

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
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
        n, _, height, width = x.shape
        p = self.padding
        black = torch.tensor(self.black, dtype=x.dtype, device=x.device)[:, None, None]
        padded = black.repeat(n, 1, height + 2 * p, width + 2 * p)
        padded[:, :, p : p + height, p : p + width] = x
        return padded
