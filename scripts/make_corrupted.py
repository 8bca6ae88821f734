"""A folder in the form of MNIST-C, made from the test images of a data set, where the real one is not at hand.

    python scripts/make_corrupted.py mnist FOLDER && psilon-run dataset=mnist dataset.corrupted=FOLDER model=mlp

Eight kinds after Mu & Gilmer 2019 by scipy.ndimage, their severities ours: what comes of it compares methods with each
other, not with published numbers.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import ndimage

from psilon_bench.config.options import options
from psilon_bench.config.schema import DatasetSection

Images = np.ndarray  # (n, channels, height, width), from 0 to 1
SHEAR = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0.4], [0, 0, 0, 1]])  # about the middle

RNG = np.random.default_rng(0)
KINDS: dict[str, Callable[[Images], Images]] = {
    "brightness": lambda x: x + 0.3,
    "gaussian_blur": lambda x: ndimage.gaussian_filter(x, (0, 0, 1.2, 1.2)),
    "gaussian_noise": lambda x: x + 0.3 * RNG.standard_normal(x.shape),
    "impulse_noise": lambda x: np.where(RNG.random(x.shape) < 0.1, RNG.integers(0, 2, x.shape), x),
    "inverse": lambda x: 1 - x,
    "rotate": lambda x: ndimage.rotate(x, 25, axes=(2, 3), reshape=False, order=1),
    "shear": lambda x: ndimage.affine_transform(x, SHEAR, (0, 0, -0.2 * x.shape[3], 0), order=1),
    "translate": lambda x: ndimage.shift(x, (0, 0, 3, 3), order=0),
}


def main() -> None:
    """Write FOLDER/<kind>/test_images.npy and test_labels.npy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="mnist, cifar10, ...")
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    section = options("dataset")[args.dataset].model_dump(by_alias=True) | {"split_seed": 0}
    task = DatasetSection.model_validate(section).build(name=args.dataset)
    scaler = task.preprocessing
    std, mean = (np.reshape(values, (-1, 1, 1)) for values in (scaler.std, scaler.mean))
    images = task.test.x.numpy() * std + mean
    for kind, corrupt in KINDS.items():
        pixels = np.rint(255 * corrupt(images).clip(0, 1)).astype(np.uint8)
        (args.folder / kind).mkdir(parents=True, exist_ok=True)
        np.save(args.folder / kind / "test_images.npy", pixels.transpose(0, 2, 3, 1))
        np.save(args.folder / kind / "test_labels.npy", task.test.y.numpy())
        print(f"{kind}: {len(pixels)} images")


if __name__ == "__main__":
    main()
