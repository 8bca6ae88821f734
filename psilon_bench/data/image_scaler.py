"""Normalisation of images: (pixel / 255 - mean) / std, with mean and std per channel over the training images."""

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

CHUNK = 10_000  # images at a time, so that sums in float64 stay small beside the images


class ImageScaler(TransformerMixin, BaseEstimator):
    """A scikit-learn transformer from uint8 images to normalised float32 images, both (n, channels, height, width).

    Rows of as many pixels (n, channels * height * width) are taken as images, too.
    """

    def __init__(self, shape: list[int]) -> None:
        """Keep the `shape` (channels, height, width) of an image."""
        self.shape = shape

    def fit(self, pixels: np.ndarray, y: None = None) -> "ImageScaler":
        """Compute mean and standard deviation of each channel, on the scale [0, 1]; of a constant channel 1."""
        channels = self._images(pixels)
        count = channels.size / self.shape[0]
        total, squares = np.zeros((2, self.shape[0]))
        for start in range(0, len(channels), CHUNK):
            chunk = channels[start : start + CHUNK].astype(np.float32)
            total += chunk.sum(axis=(0, 2, 3), dtype=np.float64)
            squares += np.einsum("nchw,nchw->c", chunk, chunk, dtype=np.float64)
        self.mean_ = total / count / 255
        self.std_ = np.sqrt(np.maximum(squares / count / 255**2 - self.mean_**2, 0))
        self.std_[self.std_ == 0] = 1
        return self

    def transform(self, pixels: np.ndarray) -> np.ndarray:
        """Return the normalised images in float32."""
        factor = (1 / (255 * self.std_)).astype(np.float32)[:, None, None]
        images = self._images(pixels).astype(np.float32)
        images *= factor
        images -= (self.mean_ / self.std_).astype(np.float32)[:, None, None]
        return images

    def black(self) -> tuple[float, ...]:
        """Return the normalised value of a black pixel, per channel."""
        return tuple((-self.mean_ / self.std_).tolist())

    def input_scales(self) -> list[float]:
        """Return how many grey levels (of 255) one unit of each input stands for, (channels * height * width)."""
        return np.repeat(255 * self.std_, np.prod(self.shape[1:])).tolist()

    def feature_names(self) -> list[str]:
        """Return a name for each pixel, pixel_CHANNEL_ROW_COLUMN, in the order of the flattened image."""
        channels, height, width = self.shape
        return [f"pixel_{c}_{h}_{w}" for c in range(channels) for h in range(height) for w in range(width)]

    def _images(self, pixels: np.ndarray) -> np.ndarray:
        """Return the pixels as (n, channels, height, width)."""
        return np.asarray(pixels).reshape(-1, *self.shape)
