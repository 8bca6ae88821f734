"""A database of MLflow, records to send, and a real `mlflow server`."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mirrored import row
from mlflow_server import Server
from tiny import TINY

from psilon_bench.records.record import Record
from psilon_bench.run.checks import prepare
from psilon_bench.run.run import about
from psilon_bench.tracking.experiment import Experiment, connect
from psilon_bench.training.engines import build_engine


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """database(folder): mlflow.db with MLflow's tables and no run; to make the tables takes seconds, to copy them none.

    test_sync.py and test_bulk.py have databases that `connect` makes itself.
    """
    folder = tmp_path_factory.mktemp("tables")
    connect(f"sqlite:///{folder / 'made.db'}", "another", str(folder))
    with closing(sqlite3.connect(folder / "made.db")) as made, closing(sqlite3.connect(folder / "copy.db")) as copy:
        made.backup(copy)

    def database(folder: Path, copy: Path = folder / "copy.db") -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(copy, folder / "mlflow.db"))

    return database


@pytest.fixture(scope="session")
def experiment_in(database: Callable[[Path], Path]) -> Callable[[Path], Experiment]:
    """experiment_in(folder): the experiment in a database of its own beside the records of this folder."""

    def experiment_in(folder: Path) -> Experiment:
        return connect(f"sqlite:///{database(folder)}", "tests", str(folder))

    return experiment_in


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory, experiment_in: Callable[[Path], Experiment]) -> Experiment:
    """An experiment of the module's own."""
    return experiment_in(tmp_path_factory.mktemp("mlflow"))


@pytest.fixture
def record(config: Callable[..., Any]) -> Callable[..., Record]:
    """record(5): the record of a run that is at its fifth evaluation, with rows that tell each other apart."""

    def record(rows: int, *overrides: str, in_sweep: bool = False) -> Record:
        chosen = config(*TINY, *overrides)
        member = prepare(chosen)
        made = Record(chosen, about(member, build_engine([member]), in_sweep))
        for number in range(1, rows + 1):
            made.add_row(row(number))
        return made

    return record


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, database: Callable[[Path], Path]) -> Iterator[Server]:
    """A real `mlflow server` on this machine, which finds its tables made."""
    one = Server(tmp_path_factory.mktemp("server"))
    database(one.folder).rename(one.folder / "server.db")
    one.start()
    yield one
    one.stop()
