"""Image sets from OpenML or from files of their authors: normalised (n, channels, height, width), the usual splits."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow.parquet as pq
import torch
from pydantic import NonNegativeInt, PositiveInt

from psilon_bench.config.marks import NO_NUMBER, InputPath, settled_by
from psilon_bench.data import cache, corruptions, image_files, openml_fetch, targets
from psilon_bench.data.augment import CropAndFlip
from psilon_bench.data.image_files import RawImages
from psilon_bench.data.image_scaler import ImageScaler
from psilon_bench.data.split import RowNumbers, Size, resolve_sizes, split_rows
from psilon_bench.data.store import Entry
from psilon_bench.data.task import Split, Task
from psilon_bench.errors import UsageError


def image_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that determine the data: files replace OpenML's copy, per_class replaces train_size."""
    unused = {"path": ("data_id", "usual_sizes"), "per_class": ("train_size",)}
    overridden = {other for key, others in unused.items() if arguments[key] for other in others}
    overridden |= set() if arguments["corrupted"] else {"corrupted_rows"}
    return {key: None if key in overridden else value for key, value in arguments.items()}


@settled_by(image_arguments)
@cache.requires_unchanged("path", "corrupted")
def load(
    name: str,
    data_id: PositiveInt,
    path: InputPath | None,
    shape: list[PositiveInt],
    usual_sizes: list[PositiveInt],
    train_size: Size | None,
    val_size: Size | None,
    test_size: Size | None,
    per_class: PositiveInt | None,
    augment: bool,
    corrupted: InputPath | None,
    corrupted_rows: PositiveInt | None,
    split_seed: NonNegativeInt,
    offline: Annotated[bool, NO_NUMBER],
) -> Task:
    """Return a task of classifying images of `shape` (channels, height, width).

    Training and validation images are drawn from the authors' training set, test images from their test set, and sizes
    are numbers or fractions of these sets. `usual_sizes` are the numbers of images in the two sets. `per_class` asks
    for so many training images of each class. `path` is a folder of the authors' files; where it is None, OpenML's data
    set `data_id` is used. `corrupted` is a folder of corrupted test images, of which at most `corrupted_rows` each are
    used. Raises UsageError for files or images that do not fit.
    """
    if path:
        raw = image_files.read_images(Path(path).expanduser())
    else:
        raw = _images(openml_fetch.obtain_data(data_id, offline), shape, usual_sizes)
    _check_shape(name, raw, shape)
    parts = _parts(raw, [train_size, val_size, test_size], per_class, split_seed)
    scaler = ImageScaler.fit(raw.pixels[parts[0]])
    task = _task(name, raw, parts, scaler)
    if corrupted is not None:
        sets = corruptions.read_corruptions(Path(corrupted).expanduser(), corrupted_rows, split_seed)
        extra_tests = {name: _split(scaler, pixels, labels, raw.classes) for name, (pixels, labels) in sets.items()}
        both = f"{task.checksum} {corruptions.corruptions_checksum(Path(corrupted).expanduser())}"
        task = replace(task, extra_tests=extra_tests, checksum=hashlib.sha256(both.encode()).hexdigest())
    return replace(task, augment=CropAndFlip(4, scaler.black())) if augment else task


def _check_shape(name: str, raw: RawImages, shape: list[int]) -> None:
    """Raise UsageError where the images are not of this shape."""
    if list(raw.pixels.shape[1:]) != shape:
        raise UsageError(
            f"dataset={name} has images of {shape} (channels, height, width), but {raw.source} has "
            f"{list(raw.pixels.shape[1:])}. Choose the data set that the files belong to."
        )


def _content(entry: Entry, shape: list[int], usual_sizes: list[int]) -> cache.CacheKey:
    """Return the key of the images made of an entry of the cache: its checksums and the wanted shape."""
    return (str(entry.path), *entry.about["sha256"].values(), *shape, *usual_sizes)


@cache.cached_by_bytes(cache.raw, _content)
def _images(entry: Entry, shape: list[int], usual_sizes: list[int]) -> RawImages:
    """Return the images of an OpenML data set, whose columns are pixels in the order of the flattened image."""
    about, table = entry.about, pq.read_table(entry.table)
    names = [c for c in table.column_names if c != about["target"]]
    if len(names) != np.prod(shape):
        raise UsageError(
            f"Images of {shape} need {np.prod(shape)} columns, but OpenML data set {about['data_id']} has {len(names)}."
        )
    pixels = np.stack([table[c].to_numpy() for c in names]).astype(np.uint8, copy=False).T.reshape(-1, *shape)
    labels, classes = targets.class_codes(table[about["target"]].to_pandas())
    # A copy with fewer rows keeps the proportion: its last rows are the test set
    num_train = round(len(labels) * usual_sizes[0] / sum(usual_sizes))
    return RawImages(
        pixels, labels, classes, num_train, about["source"], about["licence"], about["sha256"]["data.parquet"]
    )


def _parts(raw: RawImages, sizes: list[Size | None], per_class: int | None, seed: int) -> list[RowNumbers]:
    """Return the row numbers of the training, validation and test images."""
    head, tail = raw.labels[: raw.num_train], raw.labels[raw.num_train :]
    (test,) = split_rows(len(tail), resolve_sizes(len(tail), sizes[2:], names=["test"]), seed, tail)
    if per_class is None:
        counts = resolve_sizes(len(head), sizes[:2], names=["train", "val"])
        return [*split_rows(len(head), counts, seed, head), test + raw.num_train]
    train, left = _balanced(head, per_class, raw.classes, seed)
    (val,) = split_rows(len(left), resolve_sizes(len(left), sizes[1:2], names=["val"]), seed, head[left])
    return [train, left[val], test + raw.num_train]


def _balanced(labels: np.ndarray, per_class: int, classes: list[str], seed: int) -> tuple[RowNumbers, RowNumbers]:
    """Return `per_class` row numbers of every class in random order, and all other row numbers."""
    rng = np.random.default_rng(seed)
    counts = np.bincount(labels, minlength=len(classes))
    if counts.min() <= per_class:
        raise UsageError(
            f"dataset.per_class must leave rows for validation, but it is {per_class} and class "
            f"{classes[counts.argmin()]!r} has {counts.min()} images. Set a smaller dataset.per_class."
        )
    members = [rng.choice(np.flatnonzero(labels == c), per_class, replace=False) for c in range(len(classes))]
    train = rng.permutation(np.concatenate(members))
    return train, np.setdiff1d(np.arange(len(labels)), train)


def _task(name: str, raw: RawImages, parts: list[RowNumbers], scaler: ImageScaler) -> Task:
    """Return the task of these images and row numbers."""
    train, val, test = (_split(scaler, raw.pixels[rows], raw.labels[rows], raw.classes, rows) for rows in parts)
    return Task(
        name=name,
        kind="multiclass",
        train=train,
        val=val,
        test=test,
        feature_names=scaler.feature_names(),
        input_scales=scaler.input_scales(),
        num_outputs=len(raw.classes),
        classes=raw.classes,
        target_center=0.0,
        target_scale=1.0,
        target_name="class",
        preprocessing=scaler,
        source=raw.source,
        licence=raw.licence,
        checksum=raw.checksum,
        notes=[f"the last {len(raw.labels) - raw.num_train} of {len(raw.labels)} images are the test set"],
    )


def _split(
    scaler: ImageScaler, pixels: np.ndarray, labels: np.ndarray, classes: list[str], rows: RowNumbers | None = None
) -> Split:
    """Return normalised images and their labels as a split; rows: their numbers in the set."""
    numbers = None if rows is None else torch.from_numpy(rows.astype(np.int64))
    return Split(torch.from_numpy(scaler.transform(pixels)), targets.class_tensor(labels, len(classes)), numbers)
