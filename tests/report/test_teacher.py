"""What an ensemble leaves for a student: out-of-fold predictions of every row but those of the test."""

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from composing import launched
from rich.console import Console
from scipy.special import softmax

from psilon_bench.config.schema import Config
from psilon_bench.errors import UsageError
from psilon_bench.records.ensemble_json import read_ensemble
from psilon_bench.records.run_json import read_raw
from psilon_bench.report.ensemble import make_ensembles
from psilon_bench.report.metric import Metric
from psilon_bench.report.report import make
from psilon_bench.run.checks import prepare
from psilon_bench.run.display import Display
from psilon_bench.run.run import run_alone

NET = ("model.depth=2", "trainer.epochs=5", "trainer.eval_every=5", "optimizer.lr=0.05", "reg.lam=1e-3")
WHERE = ("tracking=none", "hardware.device=cpu", "hardware.plan=stacked", "metrics.lipschitz_points=1")
DATA = ("wine", "diabetes")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cross-validation of two widths on two data sets, with its ensembles."""
    results = tmp_path_factory.mktemp("taught")
    common = [*NET, *WHERE, f"results_dir={results}", "dataset.split_seed=0", "cv=2"]
    jobs = [[*common, f"dataset={data}", f"model.hidden={hidden}"] for data in DATA for hidden in (4, 5)]
    launched(jobs)
    ensembles(results / "runs")
    return results / "runs"


def ensembles(folder: Path) -> None:
    make_ensembles(make([folder], Metric("val/loss", "min")).choices, folder)


def predictions(record: Path, part: str) -> pd.DataFrame:
    return pd.read_parquet(record / "predictions.parquet", filters=[("split", "==", part)]).set_index("row")


def numbers(frame: pd.DataFrame) -> np.ndarray:
    likely = [name for name in frame if name.startswith("probability/")]
    return frame[likely or ["prediction"]].to_numpy(float)


@pytest.mark.parametrize("dataset", DATA)
def test_a_teacher_has_every_row_but_those_of_the_test(folder: Path, dataset: str) -> None:
    """Each row once, by networks that have not trained on it: the weighted mean of its two folds' networks."""
    place = folder / "ensembles" / dataset
    taught = pd.read_parquet(place / "teacher.parquet").set_index("row")
    made = read_ensemble(place)
    tested = predictions(place / made.members[0].record, "test")
    assert not set(taught.index) & set(tested.index)
    assert sorted([*taught.index, *tested.index]) == list(range({"wine": 178, "diabetes": 442}[dataset]))
    about = {path.parent: read_raw(path.parent) for path in folder.glob("*/run.json")}
    expected = np.zeros_like(numbers(taught))
    for member in made.members:
        hidden = read_raw(place / member.record)["params"]["model.hidden"]
        for record, run in about.items():
            alike = run["task"]["name"] == dataset and run["params"]["model.hidden"] == hidden
            if alike and run["params"]["dataset.fold"] != "all":
                own = predictions(record, "val")
                expected[taught.index.get_indexer(own.index)] += member.weight * numbers(own)
                targets = [*own["target"].astype(taught["target"].dtype)]
                assert targets == pytest.approx([*taught["target"][own.index]])
    if made.temperature is not None:
        expected = softmax(np.log(expected) / made.temperature, axis=1)
    np.testing.assert_allclose(numbers(taught), expected, rtol=1e-5)


@pytest.mark.parametrize("dataset", DATA)
def test_a_student_learns_of_an_ensemble(folder: Path, dataset: str, config: Callable[..., Config]) -> None:
    """On folds and on all of them; its record is scored by labels, its loss in training is another one."""
    asked = [*NET, *WHERE, "model.hidden=4", f"dataset={dataset}", "dataset.split_seed=0", "dataset.folds=5"]
    taught = [f"trainer.teacher={folder}/ensembles/{dataset}", "trainer.teacher_weight=1"]
    display = Display(Console(file=io.StringIO()))
    student, other = (run_alone(config(*asked, "dataset.fold=all", *own), display) for own in (taught, []))
    assert student.run["status"] == "finished"
    assert student.run["metrics"]["train/loss"] != pytest.approx(other.run["metrics"]["train/loss"], rel=1e-3)
    assert student.run["metrics"]["constant/test/loss"] == other.run["metrics"]["constant/test/loss"]
    prepare(config(*asked, "dataset.fold=3", *taught))
    with pytest.raises(UsageError, match=rf"may have trained on test rows of {dataset}"):
        prepare(config(*asked, "dataset.fold=3", *taught, "dataset.split_seed=1"))


def test_a_teacher_without_folds_lacks_rows(folder: Path, config: Callable[..., Config], tmp_path: Path) -> None:
    """It has the validation rows of one split, which train none of its students on that split."""
    common = [*NET, *WHERE, f"results_dir={tmp_path}", "dataset=wine", "dataset.split_seed=0"]
    jobs = [[*common, f"model.hidden={hidden}"] for hidden in (4, 5)]
    launched(jobs)
    ensembles(tmp_path / "runs")
    student = config(*NET, "dataset=wine", "dataset.split_seed=0", f"trainer.teacher={tmp_path}/runs/ensembles/wine")
    with pytest.raises(UsageError, match=r"lacks (\d+) of the \1 of wine: without cv=5"):
        prepare(student)


def test_a_row_that_tests_a_network_teaches_nobody(folder: Path, tmp_path: Path) -> None:
    """Where the validation rows of one network are test rows of another, there is neither ensemble nor teacher."""
    copy = Path(shutil.copytree(folder, tmp_path / "runs"))
    shutil.rmtree(copy / "ensembles")
    for path in copy.glob("*/predictions.parquet"):
        frame = pd.read_parquet(path)
        moved = (frame["split"] == "test") & (frame.groupby("split", observed=True).cumcount() < 2)
        if moved.any():
            frame.loc[moved, "row"] = validated(copy, read_raw(path.parent)["task"]["name"])[:2]
            frame.to_parquet(path)
    with pytest.raises(UsageError, match=r"^--ensemble chooses by validation rows alone, but 2 of them are test rows"):
        ensembles(copy)
    assert not list(copy.glob("ensembles/*/*"))


def validated(folder: Path, name: str) -> list[int]:
    """The numbers of the rows that validate in some run of a data set, in order."""
    runs = [path.parent for path in folder.glob("*/run.json") if read_raw(path.parent)["task"]["name"] == name]
    return sorted({row for run in runs for row in predictions(run, "val").index})
