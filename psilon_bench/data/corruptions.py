"""Corrupted test sets, one per corruption: MNIST-C (Mu & Gilmer 2019) and CIFAR-10-C (Hendrycks & Dietterich 2019).

MNIST-C has a folder for each corruption, with test_images.npy and test_labels.npy. CIFAR-10-C has a file for each
corruption (all five severities, one after the other) and one labels.npy. Pixels are (n, h, w, c) or (n, h, w).
"""

import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from psilon_bench.data import store
from psilon_bench.data.image_files import LabelledImages
from psilon_bench.errors import UsageError


def read_corruptions(folder: Path, max_rows: int | None, seed: int) -> dict[str, LabelledImages]:
    """Return uint8 pixels (n, c, h, w) and int64 labels (n,) of every corruption, by its name.

    At most `max_rows` images of each are taken (None: all), drawn by `seed`, the same rows of all corruptions. Raises
    UsageError where the folder has no such files, or where they are damaged.
    """
    pairs = {name: _rows(images, labels, max_rows, seed) for name, images, labels in _files(folder)}
    if not pairs:
        raise UsageError(
            "dataset.corrupted must hold <corruption>/test_images.npy, or <corruption>.npy and labels.npy, but "
            f"{folder} does not. Check the folder, or set it to null."
        )
    return pairs


def corruptions_checksum(folder: Path) -> str:
    """Return the sha256 of all files that `read_corruptions` reads, whichever rows are used."""
    files = sorted({path for _, *pair in _files(folder) for path in pair})
    stamps = tuple((file, file.stat().st_size, file.stat().st_ctime_ns) for file in files)
    return _checksum(stamps)


@functools.lru_cache(maxsize=8)  # CIFAR-10-C takes seconds
def _checksum(stamps: tuple[tuple[Path, int, int], ...]) -> str:
    """Return the sha256 of files that are identified by path, size and time of change, so that each is read once."""
    return hashlib.sha256(" ".join(store.file_sha256(file) for file, *_ in stamps).encode()).hexdigest()


def _files(folder: Path) -> Iterator[tuple[str, Path, Path]]:
    """Yield the name of each corruption with its file of images and its file of labels."""
    for images in sorted(folder.glob("*/test_images.npy")):
        yield images.parent.name, images, images.parent / "test_labels.npy"
    if (folder / "labels.npy").is_file():
        for images in sorted(folder.glob("*.npy")):
            if images.name != "labels.npy":
                yield images.stem, images, folder / "labels.npy"


def _rows(images: Path, labels: Path, max_rows: int | None, seed: int) -> LabelledImages:
    """Return pixels and labels of one corruption, at most `max_rows` of them."""
    try:
        pixels, y = np.load(images, mmap_mode="r"), np.load(labels)
    except (ValueError, OSError, EOFError) as error:
        raise UsageError(f"{images} and {labels.name} cannot be read ({str(error)[:120]}). Fetch them anew.") from error
    if len(pixels) != len(y):
        raise UsageError(f"{images} has {len(pixels)} images and {labels.name} {len(y)} labels. Fetch them anew.")
    if max_rows is not None and max_rows < len(y):
        chosen = np.sort(np.random.default_rng(seed).choice(len(y), max_rows, replace=False))
        pixels, y = pixels[chosen], y[chosen]
    pixels = pixels[..., None] if pixels.ndim == 3 else pixels
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)), y.astype(np.int64)
