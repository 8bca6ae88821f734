"""Networks back from their records: levels are those of training whatever type they arrive in, and nothing is run."""

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import FunctionTransformer

from psilon_bench.data.image_scaler import ImageScaler
from psilon_bench.errors import UsageError
from psilon_bench.records import trusted
from psilon_bench.records.networks import SavedNetwork, load

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


def test_new_rows_that_do_not_fit(saved: Any, levels: Any) -> None:
    """One clear line each."""
    with pytest.raises(UsageError, match="New rows must have the columns of the data, but level, when are not there"):
        saved.predict(levels[["number"]])
    with pytest.raises(UsageError, match="Column 'number' holds numbers, but 'many' is none"):
        saved.predict(levels.head(2).assign(number=["many", "3"]))


def test_the_preprocessing_comes_back_as_it_was(saved: Any, levels: Any, task: Any, tmp_path: Path) -> None:
    """Of tables, of images and of none."""
    scaler = ImageScaler([1, 2, 2]).fit(np.arange(12.0).reshape(3, 1, 2, 2))
    values: list[Any] = [saved.preprocessing, scaler, None]
    for value in values:
        trusted.write_fitted(value, tmp_path / "value.skops")
        again = trusted.read_fitted(tmp_path / "value.skops")
        assert type(again) is type(value)
        if value is scaler:
            np.testing.assert_array_equal(again.transform(np.ones((1, 4))), value.transform(np.ones((1, 4))))
        elif value is not None:
            np.testing.assert_array_equal(again.transform(levels), value.transform(levels))


# a stranger's record


class Planted:
    """A pickle that writes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def run_if_loaded(frame: pd.DataFrame) -> pd.DataFrame:
    """A foreign function."""
    Path("ran").touch()
    return frame


def tampered(kind: str, file: Path) -> None:
    """Put something else in the place of the preprocessing."""
    ran = Path("ran").absolute()
    if kind == "pickle":
        file.write_bytes(pickle.dumps(Planted(ran)))
    elif kind == "function":
        skops.io.dump(FunctionTransformer(run_if_loaded), file)
    elif kind == "within":
        skops.io.dump(ColumnTransformer([("number", FunctionTransformer(run_if_loaded), ["number"])]), file)
    elif kind in ("call", "method"):
        skops.io.dump(FunctionTransformer(run_if_loaded), file)
        with zipfile.ZipFile(file) as packed:
            schema = json.loads(packed.read("schema.json"))
        name = {"call": ("os", "system"), "method": ("pickle", "loads")}[kind]
        text = json.dumps(schema).replace("test_saved", name[0]).replace("run_if_loaded", name[1])
        with zipfile.ZipFile(file, "w") as packed:
            packed.writestr("schema.json", text)
    else:
        file.write_bytes(file.read_bytes()[:-40])


@pytest.mark.parametrize("kind", ["pickle", "function", "within", "call", "method", "cut"])
def test_a_tampered_record_runs_nothing(finished: Any, kind: Any) -> None:
    """One line, and no trace of what was planted."""
    folder = finished("dataset=wine").folder
    tampered(kind, folder / "preprocessing.skops")
    with pytest.raises(UsageError, match=r"preprocessing.skops (holds \[|cannot be read)") as error:
        load(folder)
    assert "\n" not in str(error.value)
    assert not Path("ran").exists()


def test_a_record_of_an_earlier_version(finished: Any) -> None:
    """Its pickle is not read."""
    folder = finished("dataset=wine").folder
    (folder / "preprocessing.skops").unlink()
    (folder / "preprocessing.joblib").write_bytes(pickle.dumps(Planted(Path("ran").absolute())))
    with pytest.raises(UsageError, match=r"preprocessing.skops is not there: .* earlier version. Train the run again"):
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
