"""Networks back from their records: levels are those of training whatever type they arrive in, and nothing is run."""

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from psilon_bench.data.bundled import bundled_table
from psilon_bench.data.fit_preprocessing import fit_preprocessing
from psilon_bench.data.image_scaler import ImageScaler
from psilon_bench.errors import UsageError
from psilon_bench.records.networks import SavedEnsemble, SavedNetwork, load
from psilon_bench.records.preprocessing_json import read_preprocessing, write_preprocessing

ROWS = 200


@pytest.fixture
def levels(tmp_path: Path) -> pd.DataFrame:
    """Text levels, some of which look like numbers, numbers with a sentinel, dates, and a target of them all."""
    level = [["1", "2", "3", "10", "high"][row % 5] for row in range(ROWS)]
    number = [-999.0 if row % 20 == 7 else float(row % 13) for row in range(ROWS)]
    when = pd.date_range("2020-01-01", periods=ROWS, freq="D")
    target = [10.0 * (text == "3") + 0.1 * (row % 13) for row, text in enumerate(level)]
    return pd.DataFrame({"level": level, "number": number, "when": when, "y": target})


@pytest.fixture
def saved(levels: Any, finished: Any, tmp_path: Path) -> SavedNetwork:
    """Trained on these."""
    levels.to_csv(tmp_path / "my.csv", index=False)
    return load(finished("dataset=table", f"dataset.path={tmp_path}/my.csv", "dataset.missing=[-999]").folder)


@pytest.mark.filterwarnings("error")
def test_a_level_is_the_same_in_every_type(saved: Any, levels: Any) -> None:
    """ "3", 3, 3.0 and the category 3: a column of digits and a hole is read as floats."""
    rows = levels.iloc[[2, 7, 12]]
    expected = saved.predict(rows)
    for same in ([3, 3, 3], [3.0, 3.0, 3.0], ["3", "3.0", 3], pd.Categorical([3, 3, 3]), np.array(["3"] * 3)):
        np.testing.assert_array_equal(saved.predict(rows.assign(level=same)), expected)


@pytest.mark.filterwarnings("error")
def test_missing_words_and_numbers_are_missing_in_new_rows_too(saved: Any, levels: Any) -> None:
    """dataset.missing, and the usual words in columns of numbers."""
    rows = levels.iloc[[2, 7]]
    expected = saved.predict(rows.assign(number=[np.nan, 3.0]))
    for same in ([-999, 3], ["-999", "3"], ["?", "3"], [None, 3.0]):
        np.testing.assert_array_equal(saved.predict(rows.assign(number=same)), expected)


def test_unseen_levels_are_counted_in_a_warning(saved: Any, levels: Any) -> None:
    """Column, rows and levels; where the caller stands."""
    rows = levels.head(4).assign(level=["3", "violet", None, "violet"])
    with pytest.warns(
        UserWarning, match="3 of 4 rows hold levels of 'level' that no training row had: violet, miss"
    ) as w:
        saved.predict(rows)
    assert w[0].filename == __file__


def test_an_ensemble_warns_once_of_levels_that_no_member_knows(levels: Any, finished: Any, tmp_path: Path) -> None:
    """A network that never saw the level 3, and another that never saw 10, know both together."""
    members = []
    for absent in ("3", "10"):
        levels[levels["level"] != absent].to_csv(tmp_path / f"{absent}.csv", index=False)
        members.append(load(finished("dataset=table", f"dataset.path={tmp_path}/{absent}.csv").folder))
    both = SavedEnsemble(members, [0.5, 0.5])
    rows = levels.head(5).assign(level=["1", "3", "10", "violet", "violet"])
    with pytest.warns(UserWarning, match="rows hold levels of") as w:
        values = both.predict(rows)
    assert [str(one.message) for one in w] == ["2 of 5 rows hold levels of 'level' that no training row had: violet"]
    assert w[0].filename == __file__
    with pytest.warns(UserWarning, match="no training row had"):
        np.testing.assert_array_equal(values, np.mean([member.predict(rows) for member in members], axis=0))


def test_an_ensemble_warns_of_levels_also_where_a_member_does_not_read_the_column(
    levels: Any, finished: Any, tmp_path: Path
) -> None:
    """A column that is constant in the training rows of a member is none of its inputs."""
    members = []
    for name, frame in {"constant": levels.assign(level="1"), "whole": levels}.items():
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
        members.append(load(finished("dataset=table", f"dataset.path={tmp_path}/{name}.csv").folder))
    with pytest.warns(UserWarning, match="1 of 2 rows hold levels of 'level' that no training row had: violet"):
        SavedEnsemble(members, [0.5, 0.5]).predict(levels.head(2).assign(level=["1", "violet"]))


def test_new_rows_that_do_not_fit(saved: Any, levels: Any) -> None:
    """One clear line each."""
    with pytest.raises(UsageError, match="New rows must have the columns of the data, but level, when are not there"):
        saved.predict(levels[["number"]])
    with pytest.raises(UsageError, match="Column 'number' holds numbers, but 'many' is none"):
        saved.predict(levels.head(2).assign(number=["many", "3"]))


def test_the_preprocessing_comes_back_as_it_was(saved: Any, levels: Any, tmp_path: Path) -> None:
    """Of tables, of images and of none: to the last bit."""
    scaler = ImageScaler.fit(np.arange(12.0).reshape(3, 1, 2, 2))
    values: list[tuple[Any, Any]] = [(saved.preprocessing, levels), (scaler, np.ones((1, 4))), (None, None)]
    for value, rows in values:
        write_preprocessing(tmp_path, value)
        again: Any = read_preprocessing(tmp_path)
        assert again == value
        if value is not None:
            np.testing.assert_array_equal(again.transform(rows), value.transform(rows))


def test_a_network_that_reads_no_rows(saved: Any, levels: Any) -> None:
    """One clear line."""
    with pytest.raises(UsageError, match="recovers a vector from measurements, and predicts no rows"):
        replace(saved, preprocessing=None).predict(levels)


# a stranger's record


class Planted:
    """A pickle that writes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


LEVELS = {"name": "c", "role": "category"}
TAMPERED: dict[str, Callable[[Any, Any], Any]] = {  # of the whole file and its first column
    "kind": lambda whole, first: whole.update(kind="os.system"),
    "more": lambda whole, first: first.update(_target_="os.system"),
    "text": lambda whole, first: first["value"].update(mean="0"),
    "scale": lambda whole, first: first["value"].update(scale=0),
    "infinite": lambda whole, first: first["value"].update(scale=float("inf")),
    "role": lambda whole, first: first.update(role="category"),
    "twice": lambda whole, first: whole["columns"].append(first),
    "order": lambda whole, first: whole["columns"].insert(0, {**LEVELS, "levels": ["a", "b"]}),
    "levels": lambda whole, first: whole["columns"].append({**LEVELS, "levels": [None, "a"]}),
    "repeated": lambda whole, first: whole["columns"].append({**LEVELS, "levels": ["a", "a"]}),
}


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The preprocessing of a table of numbers."""
    folder = tmp_path_factory.mktemp("wine")
    frame = bundled_table("wine").frame.drop(columns="target")
    write_preprocessing(folder, fit_preprocessing(frame))
    return folder


@pytest.mark.parametrize("kind", ["pickle", "cut", "deep", *TAMPERED])
def test_a_tampered_record_runs_nothing(wine: Path, tmp_path: Path, kind: Any) -> None:
    """One line, and no trace of what was planted."""
    shutil.copytree(wine, tmp_path / "record")
    file = tmp_path / "record/preprocessing.json"
    whole = json.loads(file.read_text(encoding="utf-8"))
    if kind in TAMPERED:
        TAMPERED[kind](whole, whole["columns"][0])
        file.write_text(json.dumps(whole), encoding="utf-8")
    else:
        planted = pickle.dumps(Planted(Path("ran").absolute()))
        file.write_bytes({"pickle": planted, "cut": file.read_bytes()[:-40], "deep": b"[" * 100_000}[kind])
    with pytest.raises(UsageError, match=r"preprocessing.json cannot be read \(.*\)\. Train the run again") as error:
        read_preprocessing(tmp_path / "record")
    assert "\n" not in str(error.value)
    assert not Path("ran").exists()


def test_images_of_other_channels_are_none(tmp_path: Path) -> None:
    """A number for each channel."""
    text = '{"kind": "images", "shape": [3, 2, 2], "mean": [0], "std": [1]}'
    (tmp_path / "preprocessing.json").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="cannot be read"):
        read_preprocessing(tmp_path)


def test_a_record_of_an_earlier_version(finished: Any) -> None:
    """What it has in the place of preprocessing.json is not read."""
    folder = finished("dataset=wine").folder
    (folder / "preprocessing.json").unlink()
    for name in ("preprocessing.joblib", "preprocessing.skops"):
        (folder / name).write_bytes(pickle.dumps(Planted(Path("ran").absolute())))
    with pytest.raises(UsageError, match=r"preprocessing.json is not there: .* earlier version. Train the run again"):
        load(folder)
    assert not Path("ran").exists()


@pytest.mark.parametrize("target", ["os.system", "subprocess.Popen", "builtins.exec", "test_saved.Planted", "no.such"])
def test_a_record_names_networks_alone(finished: Any, target: Any) -> None:
    """_target_ of a stranger's configuration is not called."""
    folder = finished("dataset=wine").folder
    text = (folder / "config.yaml").read_text(encoding="utf-8")
    (folder / "config.yaml").write_text(text.replace("psilon_bench.models.mlp.MLP", target), encoding="utf-8")
    with pytest.raises(
        UsageError, match=rf"model._target_='{target}' of the record (is no network|cannot be imported)"
    ):
        load(folder)
