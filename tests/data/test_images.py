"""Image sets: the authors' formats give the same tensors, the usual splits hold, augmentation moves whole images."""

import gzip
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from made_images import idx, made_up
from openml_server import Data
from scipy.io import savemat

from psilon_bench.data import images
from psilon_bench.data.augment import CropAndFlip
from psilon_bench.data.image_scaler import ImageScaler
from psilon_bench.errors import UsageError


@pytest.fixture
def mnist(tmp_path: Path) -> Any:
    """200 training and 100 test images; half of the files gzipped."""
    for i, (name, n) in enumerate((("train", 200), ("t10k", 100))):
        pixels, labels = made_up(n, (28, 28), i)
        (tmp_path / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(pixels)))
        (tmp_path / f"{name}-labels-idx1-ubyte").write_bytes(idx(labels))
    return tmp_path


@pytest.fixture
def cifar(tmp_path: Path) -> Any:
    for i in range(6):
        pixels, labels = made_up(40, (3, 32, 32), i)
        record = np.concatenate([labels[:, None], pixels.reshape(40, -1)], axis=1)
        name = "test_batch" if i == 5 else f"data_batch_{i + 1}"
        (tmp_path / f"{name}.bin").write_bytes(record.tobytes())
    return tmp_path


def raw_pixels(task: Any, split: Any) -> Any:
    mean, std = (torch.tensor(a)[:, None, None] for a in (task.preprocessing.mean, task.preprocessing.std))
    return ((split.x.double() * std + mean) * 255).round().to(torch.uint8).numpy()


def test_idx_files_arrive_whole(mnist: Any, load: Any) -> None:
    task = load("mnist", path=str(mnist), val_size=50)
    assert task.input_shape == (1, 28, 28)
    assert task.num_features == len(task.feature_names) == 784
    assert [len(s) for s in (task.train, task.val, task.test)] == [150, 50, 100]
    pixels, labels = made_up(100, (28, 28), 1)
    order = np.argsort(raw_pixels(task, task.test).reshape(100, -1)[:, :3].astype(int) @ [65536, 256, 1])
    expected = np.argsort(pixels.reshape(100, -1)[:, :3].astype(int) @ [65536, 256, 1])
    assert (raw_pixels(task, task.test)[order] == pixels[expected][:, None]).all()
    assert (task.test.y.numpy()[order] == labels[expected]).all()


def test_normalisation_is_of_the_training_images(mnist: Any, load: Any) -> None:
    task = load("mnist", path=str(mnist), val_size=50)
    torch.testing.assert_close(task.train.x.mean(), torch.tensor(0.0), atol=1e-6, rtol=0)
    torch.testing.assert_close(task.train.x.std(correction=0), torch.tensor(1.0))
    assert abs(task.test.x.mean()) > 1e-3


def test_the_scaler_equals_its_formula_in_float64() -> None:
    pixels, _ = made_up(23, (3, 5, 4), 2)
    scaler = ImageScaler.fit(pixels)
    x = pixels / 255
    expected = (x - x.mean((0, 2, 3))[:, None, None]) / x.std((0, 2, 3))[:, None, None]
    np.testing.assert_allclose(scaler.transform(pixels), expected, atol=1e-5)
    np.testing.assert_allclose(scaler.transform(pixels.reshape(23, -1)), expected, atol=1e-5)
    np.testing.assert_allclose(scaler.transform(np.zeros((1, 60)))[0, :, 0, 0], scaler.black(), rtol=1e-5)
    assert np.isfinite(ImageScaler.fit(pixels * 0).transform(pixels)).all()


def test_the_subset_has_as_many_of_each_class(mnist: Any, load: Any) -> None:
    task = load("mnist_subset", path=str(mnist), per_class=7, val_size=30)
    assert task.train.y.bincount().tolist() == [7] * 10
    assert [len(task.val), len(task.test)] == [30, 100]
    rows = {x.tobytes() for x in raw_pixels(task, task.train)}
    assert not rows & {x.tobytes() for x in raw_pixels(task, task.val)}
    other = load("mnist_subset", path=str(mnist), per_class=7, val_size=30, split_seed=1)
    assert rows != {x.tobytes() for x in raw_pixels(other, other.train)}


def test_cifar_binary_and_pickled_batches_agree(cifar: Any, load: Any, tmp_path: Path) -> None:
    binary = load("cifar10", path=str(cifar))
    folder = tmp_path / "python"
    folder.mkdir()
    for file in cifar.glob("*.bin"):
        record = np.frombuffer(file.read_bytes(), np.uint8).reshape(40, -1)
        content = {b"data": record[:, 1:], b"labels": record[:, 0].tolist()}
        (folder / file.stem).write_bytes(pickle.dumps(content, protocol=2))
    pickled = load("cifar10", path=str(folder))
    assert torch.equal(binary.train.x, pickled.train.x)
    assert torch.equal(binary.test.y, pickled.test.y)
    assert [len(s) for s in (binary.train, binary.val, binary.test)] == [180, 20, 40]


def test_a_pickle_that_would_run_code_is_refused(cifar: Any, load: Any, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return print, ("run",)

    for file in list(cifar.glob("*.bin")):
        file.with_suffix("").write_bytes(pickle.dumps(Evil()))
        file.unlink()
    with pytest.raises(UsageError, match=r"damaged image files \(a batch must hold arrays alone, not builtins.print"):
        load("cifar10", path=str(cifar))


def test_svhn_mat_files(tmp_path: Path, load: Any) -> None:
    made = {}
    for i, (name, n) in enumerate((("train", 60), ("test", 30))):
        pixels, labels = made[name] = made_up(n, (3, 32, 32), i)
        content = {"X": pixels.transpose(2, 3, 1, 0), "y": np.where(labels == 0, 10, labels)[:, None]}
        savemat(tmp_path / f"{name}_32x32.mat", content)
    task = load("svhn", path=str(tmp_path), val_size=10)
    assert task.classes == [str(i) for i in range(1, 11)]
    first = raw_pixels(task, task.test)[0]
    (place,) = np.flatnonzero((made["test"][0] == first).all((1, 2, 3)))
    digit = int(task.classes[task.test.y[0]]) % 10
    assert digit == made["test"][1][place]


def test_openml_rows_become_images(server: Any, load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, labels = made_up(70, (28, 28), 3)
    frame = pd.DataFrame(pixels.reshape(70, -1), columns=[f"pixel{i}" for i in range(784)])
    frame["class"] = pd.Categorical(labels.astype(str))
    server.data[554] = Data("mnist_784", frame, "class", parquet=True)
    task = load("mnist", val_size=10)
    assert [len(s) for s in (task.train, task.val, task.test)] == [50, 10, 10]
    tests = {x.tobytes() for x in raw_pixels(task, task.test)}
    assert tests == {x.tobytes() for x in pixels[60:]}
    with pytest.raises(UsageError, match=r"need 3072 columns, but OpenML data set 554 has 784"):
        load("cifar10", data_id=554)


def test_corrupted_sets_of_mnist_c(mnist: Any, load: Any, tmp_path: Path) -> None:
    for i, name in enumerate(("fog", "zigzag")):
        pixels, labels = made_up(100, (28, 28, 1), 5 + i)
        (tmp_path / "c" / name).mkdir(parents=True)
        np.save(tmp_path / "c" / name / "test_images.npy", pixels)
        np.save(tmp_path / "c" / name / "test_labels.npy", labels)
    task = load("mnist", path=str(mnist), val_size=50, corrupted=str(tmp_path / "c"), corrupted_rows=40)
    assert list(task.extra_tests) == ["fog", "zigzag"]
    assert task.extra_tests["fog"].x.shape == (40, 1, 28, 28)
    whole = load("mnist", path=str(mnist), val_size=50, corrupted=str(tmp_path / "c"), corrupted_rows=None)
    pixels, labels = made_up(100, (28, 28, 1), 6)
    assert (raw_pixels(whole, whole.extra_tests["zigzag"])[:, 0] == pixels[..., 0]).all()
    assert whole.extra_tests["zigzag"].y.tolist() == labels.tolist()


def test_corrupted_sets_of_cifar_c(cifar: Any, load: Any, tmp_path: Path) -> None:
    pixels, labels = made_up(30, (32, 32, 3), 7)
    (tmp_path / "c").mkdir()
    np.save(tmp_path / "c" / "labels.npy", labels)
    np.save(tmp_path / "c" / "snow.npy", pixels)
    task = load("cifar10", path=str(cifar), corrupted=str(tmp_path / "c"))
    assert (raw_pixels(task, task.extra_tests["snow"]) == pixels.transpose(0, 3, 1, 2)).all()
    np.save(tmp_path / "c" / "fog.npy", pixels[:9])
    with pytest.raises(UsageError, match=r"fog.npy has 9 images and labels.npy 30 labels"):
        load("cifar10", path=str(cifar), corrupted=str(tmp_path / "c"))


@pytest.fixture
def batch() -> Any:
    return torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_augmentation_is_a_crop_of_the_padded_image_or_its_mirror(batch: Any) -> None:
    augment = CropAndFlip(2, (-1.0, -2.0, -3.0))
    black = torch.tensor([-1.0, -2.0, -3.0])[:, None, None]
    out = augment(batch, torch.Generator().manual_seed(1))
    padded = black.expand(64, 3, 12, 12).clone()
    padded[:, :, 2:10, 2:10] = batch
    seen = set()
    for image, source in zip(out, padded, strict=True):
        crops = {
            (dy, dx, flip): (c.flip(-1) if flip else c)
            for dy in range(5)
            for dx in range(5)
            for flip in (False, True)
            for c in [source[:, dy : dy + 8, dx : dx + 8]]
        }
        seen.add(next(key for key, crop in crops.items() if torch.equal(image, crop)))
    assert {dy for dy, _, _ in seen} == {dx for _, dx, _ in seen} == set(range(5))
    assert {flip for _, _, flip in seen} == {False, True}


def test_augmentation_follows_its_generator_and_leaves_the_batch(batch: Any) -> None:
    before = batch.clone()
    augment = CropAndFlip(2, (0.0, 0.0, 0.0))
    first, again, other = (augment(batch, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(batch, before)
    assert augment(batch.double(), torch.Generator()).dtype == torch.float64


def test_augmentation_is_offered_where_it_is_asked_for(cifar: Any, load: Any) -> None:
    task = load("cifar10", path=str(cifar))
    black = torch.from_numpy(task.preprocessing.transform(np.zeros((1, 3, 32, 32), np.uint8)))
    torch.testing.assert_close(torch.tensor(task.augment.black), black[0, :, 0, 0])
    assert load("cifar10", path=str(cifar), augment=False).augment is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"path": "nowhere"}, r"dataset.path must be the folder of an image set, but nowhere is none"),
        ({"shape": [3, 32, 32]}, r"has images of \[3, 32, 32\] .*has \[1, 28, 28\]"),
        ({"per_class": 20}, r"must leave rows for validation, but it is 20 and class '0' has 20 images"),
        ({"val_size": 200}, r"Each split needs at least one row, but train_size=null, val_size=200"),
        ({"test_size": 101}, r"must fit into the 100 rows there are, but test_size=101"),
        ({"corrupted": "nowhere"}, r"dataset.corrupted must hold .*but nowhere does not"),
    ],
)
def test_bad_requests_are_one_clear_line(mnist: Any, load: Any, values: Any, message: Any) -> None:
    with pytest.raises(UsageError, match=message):
        load("mnist", **{"path": str(mnist), "val_size": 50, **values})


def test_damaged_and_missing_files_are_named(mnist: Any, load: Any) -> None:
    place = mnist / "train-images-idx3-ubyte.gz"
    whole = place.read_bytes()
    place.write_bytes(whole[:-100])
    with pytest.raises(UsageError, match=r"damaged image files \(Compressed file ended"):
        load("mnist", path=str(mnist))
    place.write_bytes(gzip.compress(gzip.decompress(whole)[:-9]))
    with pytest.raises(UsageError, match=r"damaged image files \(cannot reshape"):
        load("mnist", path=str(mnist))
    place.unlink()
    with pytest.raises(UsageError, match=r"must hold an image set, but .* has none of: train-images-idx3-ubyte"):
        load("mnist", path=str(mnist))


def test_balanced_rows_and_the_rest_are_all_rows() -> None:
    labels = np.arange(50) % 5
    train, left = images._balanced(labels, 4, list("abcde"), 0)
    assert sorted([*train, *left]) == list(range(50))
