"""Many ended records in one transaction: the database holds what MLflow's own client would have written, and once."""

import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mirrored import row, state

from psilon_bench.config.addresses import database_of
from psilon_bench.records.places import MLFLOW_STATE
from psilon_bench.records.record import Record
from psilon_bench.records.run_json import Status
from psilon_bench.tracking import bulk, upload
from psilon_bench.tracking.bulk import send_ended
from psilon_bench.tracking.content import milliseconds
from psilon_bench.tracking.experiment import connect
from psilon_bench.tracking.mirror import Mirror
from psilon_bench.tracking.mlflow_internals import insert_runs
from psilon_bench.tracking.server import check_server, default_uri
from psilon_bench.tracking.upload import send_all

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")  # in MLflow itself


def tables(folder: Path, now: int) -> dict[str, list[str]]:
    """Every row of every table, and every artifact, with words for the keys that MLflow draws and for what is new."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as opened:
        rows = {
            name: opened.execute(f"SELECT * FROM {name}").fetchall()
            for (name,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        }
        runs = opened.execute("SELECT run_uuid, value FROM tags WHERE key IN ('record', 'parent_of')").fetchall()
        sets = opened.execute("SELECT dataset_uuid, name || digest FROM datasets").fetchall()
        inputs = opened.execute("SELECT input_uuid, source_id || destination_id FROM inputs").fetchall()
        models = opened.execute("SELECT model_id, 'model of ' || source_run_id FROM logged_models").fetchall()
    del rows["experiments"]  # with the time of its making
    # a model's times: when the client sent it, and when its run ended
    rows["logged_models"] = [tuple(value for value in one if not is_time(value)) for one in rows["logged_models"]]
    words = [*inputs, *models, *runs, *sets, (str(folder), "here")]
    every = rows | {"artifacts": [(p, p.read_bytes()) for p in folder.glob("mlartifacts/*/*/**/*") if p.is_file()]}
    return {name: sorted(worded(repr(one), words, now) for one in found) for name, found in every.items()}


def is_time(value: object) -> bool:
    return isinstance(value, int) and value > 10**12


def worded(text: str, words: list[tuple[str, str]], now: int) -> str:
    for key, word in words:
        text = text.replace(key, word)
    return re.sub(r"\b\d{13}\b", lambda found: "now" if int(found[0]) >= now else found[0], text)


def records_of_all_kinds(record: Callable[..., Record]) -> Path:
    """A results_dir with runs of a sweep and a lone one that ended in every way, with all that a record may hold."""
    statuses: list[Status] = ["finished", "failed", "killed", "finished", "running"]
    for seed, status in enumerate(statuses):
        one = record(seed, f"seed={seed}", f"dataset={'wine' if seed % 2 else 'breast_cancer'}", in_sweep=seed < 4)
        one.add_row(row(7) | {"val/loss": float("nan"), "path_norm": float("inf")})
        if status == "running":
            one.run["process"]["pid"] = 2**30  # nobody's
            one.run["params"]["model.a@b"] = [1, "http://me:secret@host"]
            one.save()
        else:
            one.finish(status, row(2) | {"test/loss": 0.5, "step": 350})
    (one.folder / "figures/deep").mkdir(parents=True)
    (one.folder / "figures/deep/one.svg").write_text("<svg/>")
    (one.folder / ".model.pt.part").write_text("half")
    return one.folder.parents[1]


def test_the_database_is_what_the_client_makes_it(
    record: Any, finished: Any, experiment_in: Any, tmp_path: Path
) -> None:
    """All tables and artifacts are the same after one transaction and after MLflow's own calls, row for row.

    A change of MLflow's inside shows here.
    """
    results = records_of_all_kinds(record)
    finished("dataset=wine")
    ours, theirs, now = tmp_path / "ours", tmp_path / "theirs", milliseconds()
    for copy in (ours, theirs):
        shutil.copytree(results, copy)
    experiment = experiment_in(ours)
    folders = [path.parent for path in sorted(ours.glob("runs/*/run.json"))]
    assert list(send_ended(experiment, folders)) == folders
    assert all(state(folder)["done"] for folder in folders)
    assert list(send_ended(experiment, folders)) == []
    experiment = experiment_in(theirs)
    for folder in sorted(theirs.glob("runs/*/run.json")):
        assert Mirror(experiment, folder.parent).send()
    found, expected = tables(ours, now), tables(theirs, now)
    assert found.keys() == expected.keys()
    for name in expected:
        assert found[name] == expected[name], name
    assert len(found["runs"]) == 7
    assert len(found["logged_models"]) == 1
    assert len(found["logged_model_metrics"]) > 10
    assert not any("secret" in line for line in found["params"])


@pytest.mark.parametrize("after", [False, True])
def test_a_transaction_that_fails_is_made_good_by_the_mirrors(
    record: Any, experiment_in: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: Any
) -> None:
    """Nothing arrives, or all of it with the answer lost: in the end each run is there once, and whole."""
    results = records_of_all_kinds(record)
    folders = [path.parent for path in sorted(results.glob("runs/*/run.json"))]
    experiment = experiment_in(results)

    def failing(*args: Any) -> None:
        if after:
            insert_runs(*args)
        raise ConnectionError("gone")

    monkeypatch.setattr(bulk, "insert_runs", failing)
    left, problem = send_all(
        experiment, {folder: Mirror(experiment, folder) for folder in folders}, True, lambda left: None
    )
    assert (left, problem) == ({}, "gone")
    found = tables(results, 0)
    assert len(found["runs"]) == 6
    clean = tmp_path / "clean"
    shutil.copytree(results, clean, ignore=shutil.ignore_patterns("ml*", ".mlflow*"))
    monkeypatch.setattr(bulk, "insert_runs", insert_runs)
    experiment = experiment_in(clean)
    send_all(
        experiment,
        {path.parent: Mirror(experiment, path.parent) for path in clean.glob("runs/*/run.json")},
        True,
        print,
    )
    expected = tables(clean, 0)
    for name in ("runs", "metrics", "latest_metrics", "params", "tags", "inputs"):
        assert len(found[name]) == len(expected[name]), name


def ended(records: list[Record]) -> list[Path]:
    """The folders of these records, which are finished now."""
    for one in records:
        one.finish("finished")
    return [one.folder for one in records]


def test_of_many_runs_that_train_a_few_at_a_time_are_live(
    record: Any, experiment_in: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others in the next rounds, none twice before all had their turn; what has ended goes at once."""
    monkeypatch.setattr(upload, "MOST_LIVE", 2)
    training = [record(2, f"seed={seed}") for seed in range(5)]
    ended = record(2, "seed=5")
    ended.finish("finished", row(2))
    experiment = experiment_in(tmp_path)
    mirrors = {one.folder: Mirror(experiment, one.folder) for one in [*training, ended]}
    turns = []
    for _ in range(3):
        mirrors, problem = send_all(experiment, mirrors, False, lambda left: None)
        assert problem is None
        turns.append([seed for seed, one in enumerate(training) if (one.folder / MLFLOW_STATE).exists()])
        assert state(ended.folder)["done"]
        assert len(mirrors) == 5
    assert turns == [[0, 1], [0, 1, 2, 3], [0, 1, 2, 3, 4]]
    mirrors, _ = send_all(experiment, mirrors, True, lambda left: None)
    assert mirrors == {}


def test_an_odd_record_holds_up_no_other(record: Any, experiment_in: Any, tmp_path: Path) -> None:
    """Its history cannot be read: it is told, and the others arrive."""
    folders = ended([record(2, f"seed={seed}") for seed in range(3)])
    (folders[1] / "history.csv").write_text("epoch,step,val/loss,path_norm\n10,50,half a row\n")
    experiment = experiment_in(tmp_path)
    heard: list[int] = []
    mirrors = {folder: Mirror(experiment, folder) for folder in folders}
    left, problem = send_all(experiment, mirrors, True, heard.append)
    assert list(left) == [folders[1]]
    assert problem is not None
    assert "half a row" in problem
    assert heard[:2] == [2, 1]


def test_runs_with_many_metrics_go_a_few_at_a_time(
    record: Any, experiment_in: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that what is held in memory does not grow with the sweep."""
    folders = sorted(ended([record(5, f"seed={seed}") for seed in range(5)]))
    sizes = []

    def counted(*args: Any) -> None:
        sizes.append(len(args[-1]))
        insert_runs(*args)

    monkeypatch.setattr(bulk, "METRICS_AT_ONCE", 30)  # of twenty each
    monkeypatch.setattr(bulk, "insert_runs", counted)
    assert list(send_ended(experiment_in(tmp_path), folders)) == folders
    assert sizes == [2, 2, 1]


@pytest.mark.parametrize("name", [pytest.param("x?y%20z", marks=pytest.mark.slow), "ü #b'"])
def test_the_database_lies_in_results_dir_whatever_its_name(record: Any, tmp_path: Path, name: Any) -> None:
    """Database and artifacts, nothing beside them, and MLflow reads them back."""
    folder = tmp_path / "made" / name
    one = record(1, f'results_dir="{folder}"')
    one.finish("finished")
    experiment = connect(default_uri(folder), "tests", str(folder))
    assert list(send_ended(experiment, [one.folder])) == [one.folder]
    assert (folder / "mlflow.db").exists()
    (run,) = experiment.runs()
    assert "run.json" in {file.path for file in experiment.client.list_artifacts(run.info.run_id)}
    fetched = experiment.client.download_artifacts(run.info.run_id, "run.json")
    assert Path(fetched).read_bytes() == (one.folder / "run.json").read_bytes()
    assert len(list(folder.glob("mlartifacts/*/artifacts/run.json"))) == 1
    assert [path.name for path in (tmp_path / "made").iterdir()] == [name]
    check_server(experiment.uri)
    assert database_of(experiment.uri) == folder / "mlflow.db"
