"""psilon-run as a person calls it: processes of their own, in a folder of the test's own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from commands import ENTRIES, Call
from composing import launched
from forked import Forked, Started
from tiny_sweep import IN_PROCESS, TINY

from psilon_bench.training.trainer import Trainer

RUN = (sys.executable, "-c", "from psilon_bench.cli.run import main; main()")


def arguments(overrides: Sequence[str], tiny: Sequence[str]) -> list[str]:
    """Options first, then what makes networks tiny, then what overrides that."""
    return [*(one for one in overrides if one == "-m"), *tiny, *(one for one in overrides if one != "-m")]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of the processes: one thread, modules that a test writes into its folder can be imported."""
    paths = [str(tmp_path), os.environ.get("PYTHONPATH", "")]
    quiet = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths)), "COLUMNS": "200"}
    return {**os.environ, **quiet}


class Merged(Started):
    """What is said to standard error is part of what is said."""

    def said(self) -> list[str]:
        return ["".join(super().said()), ""]


@pytest.fixture
def start(forking: Forked, tmp_path: Path, environment: dict[str, str]) -> Callable[..., Any]:
    """start("-m", "seed=0,1"): psilon-run with tiny networks, under way. One that starts processes is a new process."""

    def start(*overrides: str, tiny: tuple[str, ...] = TINY, **more: str) -> Any:
        asked, own = arguments(overrides, tiny), {**environment, **more}
        if any("processes" in one or "launcher" in one for one in overrides):
            pipe = subprocess.PIPE
            return subprocess.Popen(
                [*RUN, *asked], cwd=tmp_path, env=own, stdout=pipe, stderr=subprocess.STDOUT, text=True
            )
        one = forking.start(asked, tmp_path, own)
        return Merged(forking, one.pid, one.files)

    return start


@pytest.fixture
def psilon(start: Callable[..., Any]) -> Callable[..., tuple[int | None, str]]:
    """psilon("-m", "seed=0,1"): exit code and all that was printed."""

    def psilon(*overrides: str, tiny: tuple[str, ...] = TINY, **more: str) -> tuple[int | None, str]:
        process = start(*overrides, tiny=tiny, **more)
        text, _ = process.communicate(timeout=240)
        return process.returncode, text

    return psilon


@pytest.fixture
def records(tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """records(): run.json of every record, with its folder; reading them fails where one is damaged."""

    def records(name: str = "runs") -> list[dict[str, Any]]:
        paths = sorted((tmp_path / "results" / name).glob("*/run.json"))
        return [json.loads(path.read_text()) | {"folder": path.parent} for path in paths]

    return records


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def grid() -> Callable[..., dict[str, Any]]:
    """grid([["seed=0"], ["seed=1"]], "name=a"): the outcomes of a multirun by identity."""

    def grid(jobs: list[list[str]], *common: str) -> dict[str, Any]:
        every = [[*IN_PROCESS, *common, *job] for job in jobs]
        returns = launched(every)
        assert [job.overrides for job in returns] == every
        return returns[0].return_value

    return grid


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The seeds of every stack whose training began, in order."""
    stacks: list[list[int]] = []
    run = Trainer.run

    def noted(self: Trainer, *asked: Any) -> None:
        stacks.append([*self.recipe.seeds])
        run(self, *asked)

    monkeypatch.setattr(Trainer, "run", noted)
    return stacks


@pytest.fixture
def call(tmp_path: Path, environment: dict[str, str]) -> Call:
    """call("psilon-sync", "results"): exit code and all that was printed."""

    def call(name: str, *arguments: str, before: tuple[str, ...] = (), **more: str) -> tuple[int, str]:
        command = [*before, sys.executable, "-c", ENTRIES[name], *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env={**environment, **more}, capture_output=True, text=True, check=False, timeout=240
        )
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        return done.returncode, done.stdout + done.stderr

    return call
