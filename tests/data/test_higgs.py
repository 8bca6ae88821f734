"""The UCI file: converted once, read by row groups, split as its authors do or at random."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from psilon_bench.data import higgs, store
from psilon_bench.errors import UsageError

ROWS = 900


@pytest.fixture
def rows() -> Any:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(ROWS, 29)).astype(np.float32)
    table[:, 0] = rng.integers(0, 2, ROWS)
    table[:, 1] = np.arange(ROWS)  # the row's own number, to find it again
    return table


@pytest.fixture
def path(rows: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A small HIGGS.csv in UCI's format; groups and test rows are scaled down so that several are in play."""
    monkeypatch.setattr(higgs, "ROW_GROUP", 128)
    monkeypatch.setattr(higgs, "UCI_TEST_ROWS", 300)
    np.savetxt(tmp_path / "HIGGS.csv", rows, delimiter=",", fmt="%.18e")
    return tmp_path / "HIGGS.csv"


def raw_rows(task: Any, split: Any) -> Any:
    """The row numbers that a split's inputs came from."""
    first = task.preprocessing.columns[0].value
    return np.rint(split.x[:, 0].double().numpy() * first.scale + first.mean).astype(int)


@pytest.mark.parametrize("packed", [False, True])
def test_rows_arrive_as_they_are_in_the_file(path: Any, rows: Any, load: Any, packed: Any) -> None:
    if packed:
        path = path.with_name("HIGGS.csv.gz")
        path.write_bytes(gzip.compress((path.parent / "HIGGS.csv").read_bytes()))
    task = load("higgs", path=str(path), max_rows=None)
    assert (task.kind, task.classes, task.feature_names[0]) == ("binary", ["0", "1"], "lepton_pT")
    numbers = np.concatenate([raw_rows(task, s) for s in (task.train, task.val, task.test)])
    assert sorted(numbers) == list(range(ROWS))
    train = raw_rows(task, task.train)
    assert (task.train.y[:, 0].numpy() == rows[train, 0]).all()
    scaled = (rows[train, 5] - rows[train, 5].mean()) / rows[train, 5].std()
    torch.testing.assert_close(task.train.x[:, 4], torch.from_numpy(scaled), atol=1e-4, rtol=1e-4)


def test_the_file_is_converted_once(path: Any, load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load("higgs", path=str(path))
    (key,) = store.entries()
    entry = store.read_entry(key)
    assert entry is not None
    groups = pq.ParquetFile(entry.table).num_row_groups
    assert groups > 1
    monkeypatch.setattr(higgs, "convert", None)
    again = load("higgs", path=str(path))
    assert torch.equal(first.test.x, again.test.x)
    assert first.checksum == store.file_sha256(path)


def test_features_are_chosen(path: Any, load: Any) -> None:
    counts = [load("higgs", path=str(path), features=f).num_features for f in ("all", "low", "high")]
    assert counts == [28, 21, 7]
    assert load("higgs", path=str(path), features="high").feature_names == higgs.HIGH


def test_uci_tests_on_the_last_rows_alone(path: Any, load: Any) -> None:
    task = load("higgs", path=str(path), split="uci", train_size=400, val_size=200, test_size=250)
    assert raw_rows(task, task.test).min() >= 600
    assert max(raw_rows(task, task.train).max(), raw_rows(task, task.val).max()) < 600
    assert [len(s) for s in (task.train, task.val, task.test)] == [400, 200, 250]


def test_few_rows_of_many(path: Any, load: Any) -> None:
    task = load("higgs", path=str(path), max_rows=50, train_size=20, val_size=None, test_size=None)
    assert [len(s) for s in (task.train, task.val, task.test)] == [20, 15, 15]
    assert "50 of the 900 rows of HIGGS.csv" in task.notes


def spoiled(path: Any, change: Any) -> None:
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(change(lines)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda lines: ["label,a,b\n", *lines],
            r"29 numbers a row .*HIGGS.csv fails after 0 rows: .*Expected 29 columns",
        ),
        (lambda lines: [",".join(higgs.COLUMNS) + "\n", *lines], r"fails after 0 rows: .*conversion error to float"),
        (lambda lines: [*lines, "1,2,3\n"], r"Expected 29 columns, got 3"),
        (lambda lines: [lines[0].replace("e", "x"), *lines[1:]], r"conversion error to float"),
        (lambda lines: ["7" + lines[0][1:], *lines[1:]], r"label, 0 or 1, but HIGGS.csv has [78]"),
        (lambda lines: [], r"fails after 0 rows: Empty CSV file"),
    ],
)
def test_a_file_that_is_not_higgs_is_refused(path: Any, load: Any, cache: Any, change: Any, message: Any) -> None:
    spoiled(path, change)
    with pytest.raises(UsageError, match=message) as raised:
        load("higgs", path=str(path))
    assert "\n" not in str(raised.value)
    assert list(store.entries()) == []
    assert list((cache / ".making").iterdir()) == []


def test_a_truncated_gz_is_refused(path: Any, load: Any) -> None:
    cut = path.with_suffix(".csv.gz")
    cut.write_bytes(gzip.compress(path.read_bytes())[:-5000])
    with pytest.raises(UsageError, match=r"whole csv or csv.gz .* HIGGS.csv.gz fails after \d+ rows: Truncated"):
        load("higgs", path=str(cut))
    assert list(store.entries()) == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"path": "nowhere.csv"}, r"dataset.path must be a file, but nowhere.csv is not"),
        ({"path": None, "split": "uci"}, r"dataset.split=uci needs the UCI file, but dataset.path=null"),
        (
            {"split": "uci", "train_size": 700, "val_size": 10, "test_size": 10},
            r"last 300 rows .*600 before, but 700 \+ 10",
        ),
        ({"split": "uci", "train_size": 10, "val_size": 10, "test_size": 301}, r"10 \+ 10 and 301 are asked for"),
        ({"train_size": 5000}, r"must fit into the 900 rows"),
        ({"features": "some"}, r"features"),
    ],
)
def test_bad_requests_are_one_clear_line(path: Any, load: Any, values: Any, message: Any) -> None:
    with pytest.raises(UsageError, match=message):
        load("higgs", **{"path": str(path), **values})
