"""A cache of its own for every test, the OpenML of the tests, and the way to real data where there is some."""

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tenacity
from cells import NUMBERS
from omegaconf import OmegaConf
from openml_server import Data, Server, serving
from real_data import real_data_folder
from sklearn import datasets

from psilon_bench.config.check import check_arguments
from psilon_bench.config.conf_folder import CONF
from psilon_bench.config.option_file import read_option
from psilon_bench.config.schema import DatasetSection
from psilon_bench.data import openml_fetch


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PSILON_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def real_data() -> Path:
    place = real_data_folder()
    if place is None:
        pytest.skip("no real data; set PSILON_REAL_DATA")
    return place


@pytest.fixture
def load() -> Callable[..., Any]:
    """load("wine", train_size=9): the dataset's YAML with these values, called as a run calls it."""

    def load(dataset: str, **values: Any) -> Any:
        cfg = OmegaConf.create({"seed": 0, "dataset": read_option(CONF / "dataset" / f"{dataset}.yaml")})
        assert set(values) <= set(cfg.dataset)
        found = OmegaConf.to_container(cfg, resolve=True)
        assert isinstance(found, dict)
        checked = DatasetSection.model_validate({**found["dataset"], **values})
        check_arguments("dataset", checked)
        return checked.build(name=checked.name)

    return load


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., str]:
    """written(header, rows): the path of a file of text."""

    def written(header: str, rows: list[str], name: str = "my.csv", charset: str = "utf-8") -> str:
        content = "\n".join([header, *rows, ""]).encode(charset)
        (tmp_path / name).write_bytes(gzip.compress(content) if name.lower().endswith(".gz") else content)
        return str(tmp_path / name)

    return written


@pytest.fixture
def column(written: Any, load: Any) -> Callable[..., object]:
    """column(cells): the task of a file with these cells as column `a`, numbers `b` and a class."""

    def column(cells: list[str], **values: object) -> object:
        rows = [f'"{cell}",{number},{row % 2}' for row, (cell, number) in enumerate(zip(cells, NUMBERS, strict=False))]
        return load("table", path=written("a,b,target", rows), **values)

    return column


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Task and data 1: diabetes sex as a level; 2: wine, with splits; 3: digits (Parquet); 4: clustering; 5: sparse."""
    import openml

    with serving(_filled(Server())) as site:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr(openml.config, "server", f"{site.url}/api/v1/xml")
        monkeypatch.setattr(openml.config, "_root_cache_directory", tmp_path / "client")
        monkeypatch.setattr(openml_fetch, "WAIT", tenacity.wait_none())
        yield site


def _filled(site: Server) -> Server:
    diabetes = datasets.load_diabetes(as_frame=True, scaled=False).frame
    diabetes["sex"] = diabetes["sex"].map({1.0: "one", 2.0: "two"})
    diabetes.loc[[0, 7, 11], "bmi"] = None
    wine = datasets.load_wine(as_frame=True).frame
    wine["target"] = "class_" + wine["target"].astype(str)
    digits = datasets.load_digits(as_frame=True).frame
    digits = digits.astype("uint8").assign(target=digits["target"].astype(str).astype("category"))
    site.data[1] = Data("diabetes", diabetes, "target")
    site.data[2] = Data("wine", wine, "target")
    site.data[3] = Data("digits", digits, "target", parquet=True)
    site.data[5] = Data("holes", wine, "target", format="Sparse_ARFF")
    site.splits[2] = {(repeat, fold): third_of_wine(repeat, fold) for repeat in range(2) for fold in range(3)}
    site.tasks = {1: (2, 1), 2: (1, 2), 3: (1, 3), 4: (5, 2), 5: (1, 5), 6: (7, 2)}
    return site


def third_of_wine(repeat: int, fold: int) -> tuple[list[int], list[int]]:
    """Training and test rows of a fold: 178 wines in three parts."""
    test = [row for row in range(178) if (row // (1 + repeat)) % 3 == fold]
    return sorted(set(range(178)) - set(test)), test


@pytest.fixture
def people() -> pd.DataFrame:
    """A table with all that a table can have: numbers, levels, truth values, holes, a constant, an id, groups."""
    rows = 120
    return pd.DataFrame(
        {
            "id": [f"p{i:03d}" for i in range(rows)],
            "age": [20.0 + (7 * i) % 53 for i in range(rows)],
            "income": [None if i % 11 == 0 else 1000.0 + (i * i) % 997 for i in range(rows)],
            "member": [i % 3 == 0 for i in range(rows)],
            "colour": [None if i % 17 == 0 else ("red", "green", "blue")[i % 3] for i in range(rows)],
            "planet": ["earth"] * rows,
            "house": [i // 5 for i in range(rows)],
            "price": [0.5 * ((13 * i) % 101) for i in range(rows)],
        }
    )
