"""Images in the authors' file format, of random pixels and ten classes."""

from pathlib import Path

import numpy as np


def made_up(n: int, shape: tuple[int, ...], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (n, *shape) and labels (n,)."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % 10).astype(np.uint8)
    return rng.integers(0, 200 + 5 * seed, (n, *shape), dtype=np.uint8), labels


def idx(array: np.ndarray) -> bytes:
    """The bytes of an idx file."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


def write_mnist(folder: Path, side: int = 28, sizes: tuple[int, int] = (200, 100)) -> tuple[str, ...]:
    """Training and test images of this side in the folder, and the overrides that read them."""
    for seed, (name, n) in enumerate(zip(("train", "t10k"), sizes, strict=True)):
        pixels, labels = made_up(n, (side, side), seed)
        (folder / f"{name}-images-idx3-ubyte").write_bytes(idx(pixels))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(idx(labels))
    return "dataset=mnist", f"dataset.path={folder}", f"dataset.shape=[1,{side},{side}]", "dataset.val_size=0.2"
