"""Composed configurations, tasks and networks for all tests; each has a folder and a start of its own."""

import collections
import functools
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import checked_shapes  # before the package is imported
import pytest
import torch
from forked import Forked, forked
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig
from rich.console import Console
from tiny import TINY

from psilon_bench.config.check import check
from psilon_bench.config.conf_folder import CONF
from psilon_bench.config.schema import Config
from psilon_bench.data.task import Kind, Split, Task
from psilon_bench.machine import garbage
from psilon_bench.models.mlp import MLP
from psilon_bench.records.record import Record
from psilon_bench.run.display import Display
from psilon_bench.run.run import run_alone
from psilon_bench.sweep.composer import Composer

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


def by_hydra(job: list[str]) -> DictConfig:
    """What Hydra itself makes of a command line, with its own part."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return compose("config", job, return_hydra_config=True)


@functools.cache
def composer(_folders: str) -> Composer:
    """The composer of all tests with the same folders of components; test_composer.py compares it to Hydra."""
    return Composer(by_hydra)


@pytest.fixture
def composed() -> Callable[..., DictConfig]:
    """composed("model=snet", "seed=3"): what Hydra makes of a command line."""

    return lambda *overrides: composer(os.environ.get("PSILON_COMPONENTS", ""))([*overrides])


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


@pytest.fixture
def finished(config: Callable[..., Config]) -> Callable[..., Record]:
    """finished("seed=3"): the record of a tiny real run."""

    def finished(*overrides: str) -> Record:
        return run_alone(config(*TINY, *overrides), Display(Console(file=io.StringIO())))

    return finished
