"""Your own table: every format gives the same task; what is inferred is stated; what is wrong is one clear line."""

import gzip
from pathlib import Path
from typing import Any

import arff
import pandas as pd
import pytest
import torch

from psilon_bench.errors import UsageError


def write_arff(frame: pd.DataFrame, path: Path) -> None:
    kinds = {"bool": ["False", "True"], "float64": "REAL", "int64": "INTEGER"}
    attributes = [(c, kinds.get(str(d)) or sorted(frame[c].dropna().unique())) for c, d in frame.dtypes.items()]
    rows = frame.astype({"member": str}).astype(object).where(frame.notna(), None).to_numpy().tolist()
    path.write_text(arff.dumps({"relation": "people", "attributes": attributes, "data": rows}), encoding="utf-8")


WRITERS = {
    "people.csv": lambda frame, path: frame.to_csv(path, index=False),
    "people.csv.gz": lambda frame, path: frame.to_csv(path, index=False),
    "people.tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    "people.parquet": lambda frame, path: frame.to_parquet(path),
    "people.feather": lambda frame, path: frame.to_feather(path),
    "people.arff": write_arff,
}


@pytest.fixture
def save(tmp_path: Path) -> Any:
    def save(frame: pd.DataFrame, name: str = "people.csv") -> str:
        WRITERS[name](frame, tmp_path / name)
        return str(tmp_path / name)

    return save


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_task(people: Any, save: Any, load: Any, name: Any) -> None:
    frame = people.drop(columns=["id", "member"] if name.endswith("arff") else "id").assign(member=people["member"])
    path = save(frame, name)
    task = load("table", path=path, target="price", drop=["member"])
    plain = load("table", path=save(frame), target="price", drop=["member"])
    assert task.feature_names == plain.feature_names
    torch.testing.assert_close(task.train.x, plain.train.x)
    torch.testing.assert_close(task.train.y, plain.train.y)
    assert (task.name, task.kind) == ("people", "regression")


def test_target_and_kind_are_inferred_and_stated(people: Any, save: Any, load: Any) -> None:
    frame = people.drop(columns="id").rename(columns={"colour": "label"})
    task = load("table", path=save(frame))
    assert (task.kind, task.classes) == ("multiclass", ["blue", "green", "red"])
    assert task.notes[0] == "target inferred from its name: label"
    assert task.notes[1] == "kind inferred from 'label' (3 values, str): classes"
    assert task.notes[2:] == [
        "missing: 'income' (11 empty), 'label' (8 empty)",
        "left out 8 rows without a target",
        "dropped constant columns: planet",
    ]


@pytest.mark.parametrize(
    ("values", "kind", "classes"),
    [
        ([0, 1] * 60, "binary", ["0", "1"]),
        ([True, False] * 60, "binary", ["False", "True"]),
        ([1.0, 2.0, None] * 40, "binary", ["1", "2"]),
        ([2, 10, 1] * 40, "multiclass", ["1", "2", "10"]),
        (list(range(12)) * 10, "regression", []),
        ([0.5, 1.5] * 60, "regression", []),
    ],
)
def test_the_kind_follows_the_values(people: Any, save: Any, load: Any, values: Any, kind: Any, classes: Any) -> None:
    task = load("table", path=save(people[["age"]].assign(y=values)))
    assert (task.kind, task.classes) == (kind, classes)


def test_the_kind_can_be_set(people: Any, save: Any, load: Any) -> None:
    path = save(people[["age"]].assign(y=[0, 1, 2] * 40))
    assert load("table", path=path, kind="regression").kind == "regression"
    path = save(people[["age"]].assign(y=list(range(12)) * 10))
    assert load("table", path=path, kind="classes").num_outputs == 12


def test_truth_values_are_numbers(people: Any, save: Any, load: Any) -> None:
    assert load("table", path=save(people[["member", "price"]]), target="price").feature_names == ["member"]


def test_groups_do_not_straddle(people: Any, save: Any, load: Any) -> None:
    frame = people[["age", "house", "price"]].assign(marker=people["house"])
    task = load("table", path=save(frame), target="price", group="house")
    place = task.feature_names.index("marker")
    parts = [set(split.x[:, place].tolist()) for split in (task.train, task.val, task.test)]
    assert len(set.union(*parts)) == sum(map(len, parts)) == 24
    assert "house" not in task.feature_names


def test_protocol_and_max_rows(people: Any, save: Any, load: Any) -> None:
    big = pd.concat([people[["age", "colour", "price"]]] * 30, ignore_index=True)
    task = load("table", path=save(big), target="price", protocol="psilon")
    assert [len(s) for s in (task.train, task.val, task.test)] == [2000, 800, 800]
    assert "colour" in task.feature_names
    task = load("table", path=save(big), target="price", max_rows=50)
    assert [len(s) for s in (task.train, task.val, task.test)] == [30, 10, 10]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"target": "prize"}, r"dataset.target=prize is not a column of people.csv. Columns: id, age, income, member"),
        ({}, r"needs a target, but dataset.target=null and people.csv has no column named target, label, class, y"),
        ({"target": "price"}, r"Text columns must be categories, but 'id' has 120 .*dataset.drop=\[id\]"),
        ({"target": "price", "drop": ["idd"]}, r"dataset.drop must name columns, but idd are none"),
        ({"target": "price", "drop": ["price"]}, r"dataset.drop must name columns, but price are none"),
        ({"target": "price", "group": "home"}, r"dataset.group must name columns, but home are none"),
        (
            {"target": "price", "drop": ["house"], "group": "house"},
            r"dataset.drop must name columns, but house are none",
        ),
        ({"target": "planet", "drop": ["id"]}, r"two values or more, but 'planet' has one only \(earth\)"),
        ({"target": "colour", "drop": ["id"], "kind": "regression"}, r"must be numbers, but 'colour' holds 'green'"),
        ({"target": "price", "drop": ["id"], "kind": "classes"}, r"each of the 3 splits, but 'price' has 2 of class"),
        ({"target": "price", "drop": ["id"], "train_size": 500}, r"must fit into the 120 rows .*train_size=500"),
        ({"target": "price", "drop": ["id"], "protocol": "psilon"}, r"must fit into the 120 rows .*train_size=2000"),
        ({"path": None}, r"dataset=table reads a file, but dataset.path=null. Set dataset.path=my.csv"),
        ({"path": "nowhere.csv", "target": "price"}, r"dataset.path must be a file, but nowhere.csv is not"),
        ({"train_size": 1.5}, r"train_size"),
        ({"encoding": "hash"}, r"encoding"),
        ({"max_rows": 0}, r"max_rows"),
        ({"sep": "ab"}, r"dataset.sep='ab' is not valid: it should be one character, tab or spaces\."),
        ({"thousands": "x"}, r"dataset.thousands='x' is not valid"),
        ({"dates": "weekly"}, r"dataset.dates='weekly' is not valid: it should be 'ordinal' or 'cyclic'"),
        ({"split_seed": -1}, r"split_seed"),
    ],
)
def test_bad_requests_are_one_clear_line(people: Any, save: Any, load: Any, values: Any, message: Any) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        load("table", **{"path": save(people), **values})
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("twice.csv", b"a,b,a\n1,2,3\n", r"names must be unique, but these repeat: a"),
        ("twice.tsv", b"a\ta\n1\t2\n", r"names must be unique, but these repeat: a"),
        ("empty.csv", b"", r"must be a whole .csv file, but empty.csv cannot be read \(No columns"),
        ("bare.csv", b"a,y\n", r"two values or more, but 'y' has one only \(no\)|at least"),
        ("ragged.csv", b"a,y\n1,2\n1,2,3,4\n", r"the header of ragged.csv has 2 and line 3 has 4 \('1,2,3,4'\)"),
        ("latin.csv", b"a,y\n\xe9,1\n", r"latin.csv cannot be read \('utf-8' codec"),
        (
            "cut.csv.gz",
            gzip.compress(b"a,y\n" + b"1,2\n" * 9999, mtime=0)[:-30],
            r"cut.csv.gz cannot be read \(Compressed file ended",
        ),
        ("no.csv.gz", b"a,y\n1,2\n", r"no.csv.gz cannot be read \(Not a gzipped file"),
        ("no.parquet", b"a,y\n1,2\n", r"must be a whole .parquet file, but no.parquet cannot be read"),
        ("no.feather", b"a,y\n1,2\n", r"no.feather cannot be read"),
        ("no.arff", b"a,y\n1,2\n", r"no.arff cannot be read \(Invalid layout"),
        ("table.xlsx", b"PK", r"must end in .csv, .tsv, .*but it is table.xlsx"),
        ("table.parquet.gz", b"", r"must end in .*but it is table.parquet.gz"),
    ],
)
def test_bad_files_are_one_clear_line(tmp_path: Path, load: Any, name: Any, content: Any, message: Any) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=message) as raised:
        load("table", path=str(tmp_path / name), target="y")
    assert "\n" not in str(raised.value)
