"""Normalisation of images: (pixel / 255 - mean) / std, with mean and std per channel over the training images."""

from typing import Literal

import numpy as np
from pydantic import PositiveInt, model_validator

from psilon_bench.data.standardisation import FittedData, PositiveFloat

CHUNK = 10_000  # images at a time, so that sums in float64 stay small beside the images


class ImageScaler(FittedData):
    """Makes normalised float32 images of uint8 images, both (n, channels, height, width).

    Rows of as many pixels (n, channels * height * width) are taken as images, too. `mean` and `std` have a number for
    each channel.
    """

    kind: Literal["images"] = "images"
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]  # (channels, height, width)
    mean: tuple[float, ...]
    std: tuple[PositiveFloat, ...]

    @model_validator(mode="after")
    def _fits_its_channels(self) -> "ImageScaler":
        """Raise ValueError unless each channel has a mean and a standard deviation."""
        if not len(self.mean) == len(self.std) == self.shape[0]:
            raise ValueError(f"mean and std have a number for each of the {self.shape[0]} channels")
        return self

    @classmethod
    def fit(cls, images: np.ndarray) -> "ImageScaler":
        """Return mean and standard deviation of each channel, on the scale [0, 1]; the latter is 1 where it is 0."""
        _, channels, height, width = images.shape
        count = images.size / channels
        total, squares = np.zeros((2, channels))
        for start in range(0, len(images), CHUNK):
            chunk = images[start : start + CHUNK].astype(np.float32)
            total += chunk.sum(axis=(0, 2, 3), dtype=np.float64)
            squares += np.einsum("nchw,nchw->c", chunk, chunk, dtype=np.float64)
        mean = total / count / 255
        std = np.sqrt(np.maximum(squares / count / 255**2 - mean**2, 0))
        std[std == 0] = 1
        return cls(shape=(channels, height, width), mean=tuple(mean.tolist()), std=tuple(std.tolist()))

    def transform(self, pixels: np.ndarray) -> np.ndarray:
        """Return the normalised images in float32."""
        mean, std = np.array(self.mean), np.array(self.std)
        with np.errstate(over="ignore"):  # data.overflow looks for what has become infinite
            images = np.asarray(pixels).reshape(-1, *self.shape).astype(np.float32)
        images *= (1 / (255 * std)).astype(np.float32)[:, None, None]
        images -= (mean / std).astype(np.float32)[:, None, None]
        return images

    def black(self) -> tuple[float, ...]:
        """Return the normalised value of a black pixel, per channel."""
        return tuple(-mean / std for mean, std in zip(self.mean, self.std, strict=True))

    def input_scales(self) -> list[float]:
        """Return how many grey levels (of 255) one unit of each input stands for, (channels * height * width)."""
        return np.repeat(255 * np.array(self.std), np.prod(self.shape[1:])).tolist()

    def feature_names(self) -> list[str]:
        """Return a name for each pixel, pixel_CHANNEL_ROW_COLUMN, in the order of the flattened image."""
        channels, height, width = self.shape
        return [f"pixel_{c}_{h}_{w}" for c in range(channels) for h in range(height) for w in range(width)]
