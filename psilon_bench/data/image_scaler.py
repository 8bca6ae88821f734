"""Pixels 0..255 -> (pixel / 255 - mean) / std, mean and std per channel over the training images."""

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

CHUNK = 10_000  # images at a time, so that sums in float64 stay small beside the images


class ImageScaler(TransformerMixin, BaseEstimator):
    """Takes images (n, channels, height, width), or rows of as many pixels, and gives images in float32."""

    def __init__(self, shape: list[int]) -> None:
        self.shape = shape

    def fit(self, pixels: np.ndarray, y: None = None) -> "ImageScaler":
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
        factor = (1 / (255 * self.std_)).astype(np.float32)[:, None, None]
        images = self._images(pixels).astype(np.float32)
        images *= factor
        images -= (self.mean_ / self.std_).astype(np.float32)[:, None, None]
        return images

    def black(self) -> tuple[float, ...]:
        """What a black pixel becomes, per channel."""
        return tuple((-self.mean_ / self.std_).tolist())

    def input_scales(self) -> list[float]:
        """Pixel levels (of 255) per unit of each input."""
        return np.repeat(255 * self.std_, np.prod(self.shape[1:])).tolist()

    def feature_names(self) -> list[str]:
        channels, height, width = self.shape
        return [f"pixel_{c}_{h}_{w}" for c in range(channels) for h in range(height) for w in range(width)]

    def _images(self, pixels: np.ndarray) -> np.ndarray:
        return np.asarray(pixels).reshape(-1, *self.shape)
