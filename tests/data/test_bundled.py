"""The sets that need no network, and what holds of every dataset in conf/."""

import hashlib
import inspect
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from psilon_bench.config.components import locate
from psilon_bench.config.conf_folder import CONF
from psilon_bench.config.option_file import read_option
from psilon_bench.data import bundled, cache
from psilon_bench.errors import UsageError

FILES = sorted((CONF / "dataset").glob("*.yaml"))
EXPECTED = {
    "breast_cancer": (569, 30, "binary", 1),
    "wine": (178, 13, "multiclass", 3),
    "digits": (1797, 60, "multiclass", 10),  # of 64, three are black everywhere, one in these training rows
    "diabetes": (442, 10, "regression", 1),
}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_dataset_gives_a_value_for_every_argument_of_its_target(file: Any) -> None:
    content = read_option(file)
    arguments = inspect.signature(locate(content.pop("_target_"))).parameters
    assert set(content) == set(arguments)
    assert all(p.default is p.empty for p in arguments.values())  # values live in conf/ alone
    assert content["name"] == file.stem
    assert content["split_seed"] == "${seed}"


@pytest.mark.parametrize("name", EXPECTED)
def test_bundled_sets_are_ready(load: Any, name: Any) -> None:
    task = load(name)
    rows, features, kind, outputs = EXPECTED[name]
    assert len(task.train) + len(task.val) + len(task.test) == rows
    assert (task.num_features, task.kind, task.num_outputs) == (features, kind, outputs)
    assert len(task.feature_names) == features
    assert len(task.checksum) == len(hashlib.sha256().hexdigest())
    for split in (task.train, task.val, task.test):
        assert split.x.dtype == torch.float32
        assert len(split) == len(split.x) == len(split.y)
    y = task.train.y
    assert y.shape[1:] == (() if kind == "multiclass" else (1,))
    assert y.dtype == (torch.int64 if kind == "multiclass" else torch.float32)


@pytest.mark.parametrize("name", EXPECTED)
def test_the_cache_holds_what_scikit_learn_has(name: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Bit for bit, types and all; where there is no place for a cache, sets are ready without."""
    found = []
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "cache", tmp_path / "cache", tmp_path / "file"):
        monkeypatch.setenv("PSILON_DATA", str(place))
        cache.raw.clear()
        found.append(bundled.bundled_table(name))
    frame, about = bundled._read(name)
    for table in found:
        pd.testing.assert_frame_equal(table.frame, frame, check_exact=True)
        assert (table.checksum, table.regression) == (about["checksum"], about["regression"])


def test_the_split_follows_its_seed(load: Any) -> None:
    first, again, other = (load("wine", split_seed=s).train.x for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_classes_keep_their_shares(load: Any) -> None:
    task = load("breast_cancer")
    shares = torch.stack([s.y.mean() for s in (task.train, task.val, task.test)])
    torch.testing.assert_close(shares, torch.full((3,), 212 / 569), atol=0.01, rtol=0)
    assert task.classes == ["benign", "malignant"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train_size": 9999}, r"must fit into the 178 rows .*train_size=9999"),
        ({"max_rows": 2}, r"Each split needs at least one row"),
        ({"train_size": "half"}, r"train_size"),
        ({"val_size": 0.0}, r"val_size"),
        ({"name": "whine"}, r"name"),
    ],
)
def test_bad_requests_are_one_clear_line(load: Any, values: Any, message: Any) -> None:
    with pytest.raises(UsageError, match=message):
        load("wine", **values)
