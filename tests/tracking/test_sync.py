"""psilon-sync, on real databases: what MLflow lacks arrives, what it has stays, and nothing is there twice."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mirrored import row, state

from psilon_bench.errors import UsageError
from psilon_bench.report.records import scan
from psilon_bench.tracking import sync as sync_module
from psilon_bench.tracking.experiment import Experiment, connect
from psilon_bench.tracking.sync import send_records

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")  # in MLflow itself
TABLES = ("runs", "metrics", "latest_metrics", "params", "tags", "inputs", "datasets")


@pytest.fixture
def results(record: Callable[..., Any], database: Callable[[Path], Path]) -> Path:
    """results/ with the runs of a sweep, sent by psilon-sync."""
    for seed in range(3):
        one = record(3, f"seed={seed}", "tracking=mlflow", in_sweep=True)
        one.finish("finished", row(3) | {"test/loss": 0.5})
    folder = one.folder.parents[1]
    database(folder)
    assert synced(folder) == f"3 of 3 records sent to sqlite:///{folder}/mlflow.db"
    return folder


def synced(folder: Path, rebuild: bool = False) -> str:
    """What psilon-sync says before it says that all is there."""
    said: list[str] = []
    assert send_records(folder, None, rebuild, said.append), said
    assert said.pop() == f"MLflow has all records of {folder}."
    return "\n".join(said)


def counts(folder: Path) -> dict[str, int]:
    """Rows of each table."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        return {name: database.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in TABLES}


def execute(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


def statuses(folder: Path) -> set[str]:
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        return {status for (status,) in database.execute("SELECT DISTINCT status FROM runs")}


def forget() -> None:
    """MLflow keeps its connections; psilon-sync is a process of its own."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from mlflow.tracking._tracking_service import utils

    for engine in SqlAlchemyStore._engine_map.values():
        engine.dispose()
    SqlAlchemyStore._engine_map.clear()
    utils._tracking_store_registry._get_store_with_resolved_uri.cache_clear()


def test_copies_are_no_records(results: Any) -> None:
    """MLflow's own artifacts lie below results_dir: neither sent nor reported, and the runs stay finished."""
    before = counts(results)
    assert synced(results) == ""
    assert statuses(results) == {"FINISHED"}
    assert counts(results) == before
    assert len(scan([results]).runs) == 3
    assert not list(results.glob("mlartifacts/**/mlflow.json"))


@pytest.mark.slow
def test_a_lost_database_is_made_again(results: Any) -> None:
    """All of it, and once."""
    before = counts(results)
    (results / "mlflow.db").unlink()
    forget()
    assert synced(results).startswith("3 of 3 records sent")
    assert counts(results) == before
    assert synced(results) == ""


def test_an_older_database_gets_what_it_lacks(results: Any, record: Any) -> None:
    """A copy of some days ago: the run that came since, and no other."""
    shutil.copy(results / "mlflow.db", results / "older.db")
    late = record(2, "seed=7", "tracking=mlflow", in_sweep=True)
    late.finish("finished")
    assert synced(results).startswith("1 of 1 records sent")
    after = counts(results)
    forget()
    shutil.move(results / "older.db", results / "mlflow.db")
    assert synced(results).startswith("1 of 1 records sent")
    assert counts(results) == after


def test_rebuild_mends_what_is_there(results: Any) -> None:
    """Rows, parameters and files that are missing in a run that is there; without it the run counts as whole."""
    before = counts(results)
    files = sorted(results.glob("mlartifacts/*/artifacts/*"))
    forget()
    execute(results, "DELETE FROM metrics", "DELETE FROM latest_metrics", "DELETE FROM params", "DELETE FROM inputs")
    shutil.rmtree(results / "mlartifacts")
    assert synced(results) == ""
    assert synced(results, rebuild=True).startswith("3 of 3 records sent")
    assert counts(results) == before
    assert sorted(results.glob("mlartifacts/*/artifacts/*")) == files
    assert synced(results, rebuild=True).startswith("3 of 3 records sent")
    assert counts(results) == before
    assert statuses(results) == {"FINISHED"}


def test_a_folder_that_was_moved_keeps_its_runs(results: Any, tmp_path: Path) -> None:
    """Its database went along: nothing is sent, and none is made at the old place."""
    before = counts(results)
    forget()
    moved = results.rename(tmp_path / "elsewhere")
    assert synced(moved) == ""
    assert counts(moved) == before
    assert not results.exists()
    assert {state(path.parent)["uri"] for path in moved.glob("runs/*/run.json")} == {f"sqlite:///{moved}/mlflow.db"}


@pytest.mark.parametrize("content", [None, b"[]"])
def test_a_lost_mlflow_json_doubles_nothing(results: Any, content: Any) -> None:
    """The run with the record's folder as its tag is the record's."""
    before = counts(results)
    for path in results.glob("runs/*/mlflow.json"):
        path.unlink()
        if content is not None:
            path.write_bytes(content)
    assert synced(results).startswith("3 of 3 records sent")
    assert counts(results) == before


def test_a_run_in_mlflows_bin_stays_there(results: Any) -> None:
    """Who threw it away does not want it sent again."""
    execute(results, "UPDATE runs SET lifecycle_stage = 'deleted'")
    before = counts(results)
    assert synced(results) == ""
    assert counts(results) == before


class Breaking:
    """A client whose n-th call fails."""

    def __init__(self, client: Any, calls: int) -> None:
        self.client, self.left = client, calls

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                raise ConnectionError("gone")
            return getattr(self.client, name)(*args, **kwargs)

        return call


@pytest.mark.slow
def test_a_finished_run_never_runs_again(results: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a rebuild is interrupted, the status is what it was."""

    def breaking(*args: Any) -> Experiment:
        experiment = connect(*args)
        return replace(experiment, client=Breaking(experiment.client, calls))

    monkeypatch.setattr(sync_module, "connect", breaking)
    calls, done = 0, False
    while not done:
        calls += 1
        done = send_records(results, None, True, lambda line: None)
        assert statuses(results) == {"FINISHED"}
    assert calls > 20


def test_what_is_said_of_a_place_that_is_away(results: Any) -> None:
    """How many records, why, and False; a folder without records is told."""
    said: list[str] = []
    assert not send_records(results, "http://127.0.0.1:9", False, said.append)
    assert said[0].startswith(
        "3 records are not sent, or not compared: tracking.uri=http://127.0.0.1:9 does not answer"
    )
    assert len(said) == 1
    (results / "empty").mkdir()
    assert send_records(results / "empty", None, False, said.append)
    assert said[1] == f"{results / 'empty'} holds no record of a run (a folder with run.json)."
    with pytest.raises(UsageError, match="is not a folder"):
        send_records(results / "nothing", None, False, said.append)
