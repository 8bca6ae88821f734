"""Image sets from the files of their authors: IDX (MNIST), batches of CIFAR-10, .mat of SVHN; as uint8 (n, c, h, w)."""

import gzip
import hashlib
import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from psilon_bench.data import cache
from psilon_bench.errors import UsageError

LabelledImages = tuple[np.ndarray, np.ndarray]  # pixels, labels


@dataclass(frozen=True)
class RawImages:
    """An image set as it was read: pixels are uint8 (n, channels, height, width), labels (n,) index into `classes`."""

    pixels: np.ndarray
    labels: np.ndarray  # (n,) the class's place in `classes`
    classes: list[str]
    num_train: int  # rows before this are the authors' training set, the others their test set
    source: str
    licence: str
    checksum: str


@cache.cached_by_bytes(cache.raw, cache.file_key)
def read_images(folder: Path) -> RawImages:
    """Return the image set in a folder, of the first layout in LAYOUTS whose files are all there (also as .gz).

    Raises UsageError where the folder holds no image set, or damaged files.
    """
    if not folder.is_dir():
        raise UsageError(f"dataset.path must be the folder of an image set, but {folder} is none. Check the path.")
    (train, test), files = _read_pairs(folder)
    pixels = np.concatenate([train[0], test[0]])
    levels, labels = np.unique(np.concatenate([train[1], test[1]]), return_inverse=True)
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return RawImages(
        pixels=pixels,
        labels=labels,
        classes=[str(level) for level in levels],
        num_train=len(train[0]),
        source=str(folder.absolute()),
        licence="as its authors say",
        checksum=digest.hexdigest(),
    )


def _read_pairs(folder: Path) -> tuple[tuple[LabelledImages, LabelledImages], list[Path]]:
    """Return the training and the test images with their labels, and the files they were read from."""
    for names, reader in LAYOUTS:
        files = [found for name in names if (found := _find(folder, name))]
        if len(files) == len(names):
            try:
                return reader(files), files
            except (ValueError, OSError, EOFError, KeyError, pickle.UnpicklingError) as error:
                damage = str(error)[:160]
                raise UsageError(f"{folder} holds damaged image files ({damage}). Fetch them anew.") from error
    wanted = "; ".join(f"{names[0]}, ..." for names, _ in LAYOUTS)
    raise UsageError(f"dataset.path must hold an image set, but {folder} has none of: {wanted}. Check the folder.")


def _find(folder: Path, name: str) -> Path | None:
    """Return the path of a file, or of its .gz, in the folder; None where neither exists."""
    places = [folder / name, folder / f"{name}.gz"]
    return next((place for place in places if place.is_file()), None)


def _idx_pairs(files: list[Path]) -> tuple[LabelledImages, LabelledImages]:
    """Return the training and the test set of four IDX files, images and labels by turns."""
    images, labels, test_images, test_labels = map(_idx, files)
    return (images[:, None], labels), (test_images[:, None], test_labels)


def _idx(path: Path) -> np.ndarray:
    """Return the array of an IDX file of bytes (LeCun, http://yann.lecun.com/exdb/mnist).

    The file is big-endian: two zero bytes, the type (8 = uint8), the number of dimensions, each size in 4 bytes,
    values.
    """
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if content[:3] != b"\0\0\x08":
        raise ValueError(f"{path.name} is not an IDX file of bytes")
    shape = np.frombuffer(content, ">i4", count=content[3], offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def _cifar_binary_pairs(files: list[Path]) -> tuple[LabelledImages, LabelledImages]:
    """Return the training and the test set of CIFAR-10's binary batches: records of 1 label and 3072 pixels."""
    records = [np.frombuffer(f.read_bytes(), np.uint8).reshape(-1, 3073) for f in files]
    pairs = [(r[:, 1:].reshape(-1, 3, 32, 32), r[:, 0]) for r in records]
    return _joined(pairs[:-1]), pairs[-1]


def _cifar_python_pairs(files: list[Path]) -> tuple[LabelledImages, LabelledImages]:
    """Return the training and the test set of CIFAR-10's pickled batches."""
    batches = [_ArraysOnly(io.BytesIO(f.read_bytes()), encoding="bytes").load() for f in files]
    pairs = [(b[b"data"].reshape(-1, 3, 32, 32), np.array(b[b"labels"])) for b in batches]
    return _joined(pairs[:-1]), pairs[-1]


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that makes arrays alone.

    A pickle can run any code, and a batch of CIFAR-10 needs only what rebuilds an array.
    """

    ALLOWED = frozenset({"_reconstruct", "ndarray", "dtype", "encode"})

    def find_class(self, module: str, name: str) -> object:
        """Return one of the allowed functions of NumPy; UnpicklingError for anything else."""
        if name not in self.ALLOWED or module.partition(".")[0] not in ("numpy", "_codecs"):
            raise pickle.UnpicklingError(f"a batch must hold arrays alone, not {module}.{name}")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _joined(pairs: list[LabelledImages]) -> LabelledImages:
    """Return the images and labels of several batches as one."""
    return np.concatenate([p[0] for p in pairs]), np.concatenate([p[1] for p in pairs])


def _svhn_pairs(files: list[Path]) -> tuple[LabelledImages, LabelledImages]:
    """Return the training and the test set of SVHN.

    X is (h, w, c, n), and labels run from 1 to 10, where 10 is the digit 0.
    """
    from scipy.io import loadmat

    first, second = ((m["X"].transpose(3, 2, 0, 1), m["y"].ravel()) for m in map(loadmat, files))
    return first, second


LayoutReader = Callable[[list[Path]], tuple[LabelledImages, LabelledImages]]
LAYOUTS: list[tuple[list[str], LayoutReader]] = [
    ([f"{part}-{what}-ubyte" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1")], _idx_pairs),
    ([*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"], _cifar_binary_pairs),
    ([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"], _cifar_python_pairs),
    (["train_32x32.mat", "test_32x32.mat"], _svhn_pairs),
]
