"""Networks with random weights on a table with holes, levels, codes and dates: nothing is trained."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from psilon_bench.data.form import Form
from psilon_bench.data.tabular import RawTable, TaskOptions, make_task
from psilon_bench.data.task import Task
from psilon_bench.records.networks import SavedNetwork

ROWS = 120
KINDS = {"regression": "number", "binary": "two", "multiclass": "three"}


@pytest.fixture(scope="session")
def table() -> pd.DataFrame:
    """Numbers of very different sizes, with holes and a sentinel; levels that look like numbers; moments of days."""
    draw = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "age": draw.integers(18, 80, ROWS).astype(float),
            "in come": 1e6 + draw.lognormal(10, 1, ROWS),
            "whole": draw.integers(0, 9, ROWS).astype(float),
            "job": draw.choice(["clerk", "cook", "a|b", "é"], ROWS),
            "zip": draw.choice(["1", "2", "10", "007", "2.50"], ROWS),
            "when": pd.Timestamp("2019-03-01") + pd.to_timedelta(draw.uniform(0, 900, ROWS).round(3), unit="D"),
            "label": draw.choice(["x", "y"], ROWS),
        }
    )
    frame.loc[draw.random(ROWS) < 0.2, "age"] = np.nan
    frame.loc[draw.random(ROWS) < 0.1, "whole"] = -999
    frame.loc[draw.random(ROWS) < 0.2, "job"] = None
    frame.loc[draw.random(ROWS) < 0.1, "when"] = pd.NaT
    frame["number"] = 1e4 * draw.normal(size=ROWS) + 3e4
    frame["two"] = np.where(np.arange(ROWS) % 3, "no", "yes")
    frame["three"] = np.array(["red", "Green", "10"])[np.arange(ROWS) % 3]
    return frame


@pytest.fixture(scope="session")
def made(table: pd.DataFrame) -> Callable[..., Task]:
    """made("binary", encoding="codes"): a task of the table."""

    def made(kind: str, encoding: Any = "onehot", dates: Any = "cyclic", scaling: Any = "standard") -> Task:
        target = KINDS[kind]
        frame = table.drop(columns=[name for name in KINDS.values() if name != target])
        levels = ["job", "zip", "label"]
        about: dict[str, Any] = {"dates": ["when"], "form": Form((-999, "é"))}
        raw = RawTable("made", frame, target, kind == "regression", levels, "here", "none", "0" * 64, **about)
        return make_task(raw, TaskOptions([0.6, 0.2, 0.2], None, 0, encoding, dates, scaling=scaling))

    return made


@pytest.fixture(scope="session")
def saved_as() -> Callable[..., SavedNetwork]:
    """saved_as(network, task): a network with random weights, as it comes back from a record of this task."""

    def saved_as(network: nn.Module, task: Task, inputs: torch.Tensor | None = None) -> SavedNetwork:
        about: dict[str, Any] = {"kind": task.kind, "classes": task.classes, "target": None}
        if task.kind == "regression":
            about["target"] = {"name": "number", "center": task.target_center, "scale": task.target_scale}
        return SavedNetwork(network.eval(), task.preprocessing, inputs, about)

    return saved_as


@pytest.fixture
def drawn() -> Callable[[nn.Module], Any]:
    """Fill a network with random parameters, of which some are exact zeros and some units are dead."""

    def drawn(network: nn.Module) -> Any:
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.copy_(0.5 * torch.randn_like(parameter))
        return network

    return drawn
