"""A database of MLflow, records to send, and a real `mlflow server`."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mirrored import row
from mlflow_server import Server
from tiny import TINY

from psilon_bench.records.record import Record
from psilon_bench.run.checks import prepare
from psilon_bench.run.run import about
from psilon_bench.tracking.experiment import Experiment
from psilon_bench.training.engines import build_engine


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
