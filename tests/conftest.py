"""Composed configurations, tasks and networks for all tests; each has a folder and a start of its own."""

import collections
import io
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import checked_shapes  # before the package is imported
import pytest
import torch
from composing import compose_job
from forked import Forked, forked
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig
from rich.console import Console
from tiny import TINY

from psilon_bench.config.check import check
from psilon_bench.config.schema import Config
from psilon_bench.data.task import Kind, Split, Task
from psilon_bench.machine import garbage
from psilon_bench.models.mlp import MLP
from psilon_bench.records.record import Record
from psilon_bench.run.display import Display
from psilon_bench.run.run import run_alone
from psilon_bench.tracking.experiment import Experiment, connect

torch.set_num_threads(1)
garbage.pause()


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what a sampled test leaves out of the quick suite."""
    met = collections.Counter[str]()
    for item in items:
        mark = item.get_closest_marker("sampled")
        if mark is not None:
            name = item.nodeid.partition("[")[0]
            if met[name] % mark.kwargs["every"]:
                item.add_marker(pytest.mark.slow)
            met[name] += 1


def pytest_collection_finish() -> None:
    """The collector never looks again at the two million objects of what was imported and collected."""
    garbage.resume()


@pytest.fixture(autouse=True)
def _own_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    torch.manual_seed(0)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    here = Path(__file__).parent  # classes of the tests' own modules may be named as components
    monkeypatch.setenv("PSILON_COMPONENTS", os.pathsep.join(map(str, [here, here / "training", here / "models"])))
    yield
    GlobalHydra.instance().clear()
    torch.set_flush_denormal(False)  # psilon-run sets both; hypothesis needs all numbers
    torch.backends.mkldnn.matmul.fp32_precision = "none"  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _checked_shapes(request: pytest.FixtureRequest) -> None:
    checked_shapes.switch(request.path, off=request.node.get_closest_marker("unchecked_shapes") is not None)


@pytest.fixture
def composed() -> Callable[..., DictConfig]:
    """composed("model=snet", "seed=3"): what Hydra makes of a command line."""

    return lambda *overrides: compose_job([*overrides])


@pytest.fixture
def config(composed: Callable[..., DictConfig]) -> Callable[..., Config]:
    """The checked configuration of a command line, in float64 on the CPU unless it says otherwise."""
    return lambda *overrides: check(composed("hardware.precision=float64", "hardware.device=cpu", *overrides))


@pytest.fixture
def network() -> Callable[..., MLP]:
    """network("pnet", 5, 2): an MLP in float64 with random lengths of both signs and random biases."""
    kinds: dict[str, tuple[Literal[1, 2] | None, bool]] = {
        "pnet": (1, True),
        "rows": (1, False),
        "snet": (2, False),
        "shared": (2, True),
        "plain": (None, False),
    }

    def network(
        kind: str, num_features: int, num_outputs: int, hidden: int = 4, depth: int = 2, activation: Any = "relu"
    ) -> MLP:
        normalization, share = kinds[kind]
        model = MLP(num_features, num_outputs, hidden, depth, normalization, share, activation, "orthogonal").double()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn_like(parameter))
        return model

    return network


@pytest.fixture
def task() -> Callable[..., Task]:
    """task("multiclass"): 23 training, 11 validation and 7 test rows of five features that the target depends on."""

    def task(kind: Kind, seed: int = 0, sizes: tuple[int, int, int] = (23, 11, 7)) -> Task:
        torch.manual_seed(seed)
        x = torch.randn(sum(sizes), 5)
        score = 2 * x[:, 0] - x[:, 1].abs() + 0.3 * torch.randn(len(x))
        outputs = 3 if kind == "multiclass" else 1
        y = {
            "regression": score[:, None],
            "binary": (score > 0).float()[:, None],
            "multiclass": torch.bucketize(score, torch.tensor([-1.0, 1.0])),
        }[kind]
        train, val, test = [Split(*part) for part in zip(x.split(sizes), y.split(sizes), strict=True)]
        classes = [] if kind == "regression" else [f"class {i}" for i in range(max(2, outputs))]
        names = [f"x{i}" for i in range(5)]
        return Task(
            "made up",
            kind,
            train,
            val,
            test,
            names,
            outputs,
            classes,
            0.0,
            1.0,
            "score",
            None,
            "here",
            "none",
            checksum="0" * 64,
        )

    return task


@pytest.fixture(scope="session")
def forking() -> Iterator[Forked]:
    """A process that has imported everything already, and forks for each command: two seconds less than a new one."""
    with forked() as run:
        yield run


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


@pytest.fixture
def finished(config: Callable[..., Config]) -> Callable[..., Record]:
    """finished("seed=3"): the record of a tiny real run."""

    def finished(*overrides: str) -> Record:
        return run_alone(config(*TINY, *overrides), Display(Console(file=io.StringIO())))

    return finished
