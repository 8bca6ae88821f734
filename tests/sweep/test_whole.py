"""Baselines in sweeps: beside networks, once each, in whichever way the sweep trains."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from composing import launched

ARMS = [
    ["model=ridge", "reg=none"],
    ["model=hist_gbdt", "reg=none", "model.max_iter=3"],
    ["model=mlp", "reg=none", "model.hidden=4", "trainer.epochs=2"],
]


def sweep(*common: Any) -> Any:
    """The outcomes of the arms with two learning rates and two seeds each: 12 jobs."""
    jobs = [
        [*arm, f"optimizer.lr={lr}", f"seed={seed}", *common] for arm in ARMS for lr in (1e-3, 1e-2) for seed in (0, 1)
    ]
    return list(launched(jobs)[0].return_value.values())


@pytest.mark.slow
def test_learning_rates_make_no_difference_to_baselines(capsys: pytest.CaptureFixture[str]) -> None:
    """2 seeds of each baseline, 2 x 2 runs of the network; the same again trains nothing, in whichever way."""
    common = ("dataset=wine", "hardware.device=cpu", "tracking=none")
    outcomes = sweep(*common)
    assert sorted(run["params"]["model.name"] for run in outcomes) == ["hist_gbdt"] * 2 + ["mlp"] * 4 + ["ridge"] * 2
    assert {run["status"] for run in outcomes} == {"finished"}
    titles = {run["title"] for run in outcomes if run["params"]["model.name"] == "hist_gbdt"}
    tuned = "hist_gbdt rate=0.1 leaves=31 stop=True"
    assert titles == {f"{tuned} seed={seed} model.max_iter=3" for seed in (0, 1)}  # what does nothing is not told
    assert all(run["metrics"]["test/accuracy"] > 0.8 for run in outcomes if run["params"]["model.name"] != "mlp")
    capsys.readouterr()
    sweep(*common, "hardware.plan=stacked", "trainer.epochs=2")
    assert "8 of 8 runs are done" in capsys.readouterr().out
    assert len(list(Path("results/runs").glob("*/run.json"))) == 8


def test_a_plan_of_baselines(capsys: pytest.CaptureFixture[str]) -> None:
    """What is not measured says so, and is left out of the sum; fits of equal setting are one row."""
    sweep("dataset=wine", "hardware.device=cpu", "tracking=none", "plan=true")
    out = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split("│")] for line in out.splitlines() if "│ ridge" in line]
    assert [row[2:6] for row in rows] == [["2", "one by one", "not measured", "-"]]
    assert rows[0][1] == "ridge alpha=1.0 on wine"
    assert re.search(r"s of training steps in all but for 4 runs that were not measured; nothing was started", out)


@pytest.mark.slow
def test_from_the_command_line(psilon: Any, records: Any) -> None:
    """The table shows it, MLflow has it."""
    code, text = psilon("model=ridge", "reg=none", "dataset=wine", tiny=())
    assert code == 0, text
    assert "ridge alpha=1.0 seed=0 on wine" in text
    (run,) = records()
    assert json.loads((run["folder"] / "mlflow.json").read_text())["done"]
