"""The names that are known before a run are those that the run records."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from metrics_page import PAGE, undocumented
from rich.console import Console

from psilon_bench.run.checks import prepare
from psilon_bench.run.display import Display
from psilon_bench.run.metric_names import metric_names
from psilon_bench.run.run import run_alone

FILES = PAGE.with_name("record.md").read_text(encoding="utf-8")
LATER = ("test/", "unpruned/", "pruned/", "num_units/", "constant/")  # of test rows, before pruning, of layers, no run
NET = ("model.hidden=6", "model.depth=2")
RUNS: dict[str, tuple[str, ...]] = {
    "pnet": NET,
    "regression": (*NET, "dataset=diabetes", "model=snet", "reg=l2"),
    "pruned": (*NET, "pruner=l1_projection", "pruner.steps=2"),
    "residual": (*NET, "model=psilon_resnet", "reg.bound=original", "dataset=wine"),
    "units": (*NET, "model=mlp_factorized", "reg=pathprox", "optimizer=sgd", "scheduler=constant"),
    "refit": (*NET, "dataset.folds=3", "dataset.fold=all"),
    "calibrated": (*NET, "metrics.calibrate=temperature", "metrics.coverage=0.8", "dataset=wine"),
    "recovery": ("+experiment=wn",),
    "baseline": ("model=random_forest", "reg=none", "model.n_estimators=2"),
}
TINY = ("tracking=none", "trainer.epochs=2", "trainer.eval_every=1", "metrics.lipschitz_points=3")


@pytest.mark.sampled(every=3)
@pytest.mark.parametrize("kind", RUNS)
def test_names_are_those_of_the_record(kind: str, config: Callable[..., Any]) -> None:
    """None is missing and none is too many, whatever the network offers; a gap of a flat network is infinite.

    All of them, those of test rows too, are in the page of metrics, and each file in that of records.
    """
    asked = config(*TINY, *RUNS[kind])
    record = run_alone(asked, Display(Console(file=io.StringIO())))
    run = record.run
    assert run["status"] == "finished"
    recorded = {name for name in run["metrics"] if not name.startswith(LATER)}
    assert metric_names(prepare(asked)) - {"lipschitz_gap"} == recorded - {"lipschitz_gap"}
    assert undocumented(run["metrics"]) == []
    assert [path.name for path in record.folder.iterdir() if f"`{path.name}`" not in FILES] == []
