"""A set of records that has everything a figure may want."""

import io
import shutil
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import pytest
from composing import compose_job
from made_records import write_record
from published_files import compared
from rich.console import Console
from tiny import TINY

from psilon_bench.config.check import check
from psilon_bench.report.material import Material
from psilon_bench.report.metric import chosen_by
from psilon_bench.report.records import scan
from psilon_bench.report.report import make
from psilon_bench.report.search import SearchResult, TrialResult
from psilon_bench.run.display import Display
from psilon_bench.run.run import run_alone

mpl.use("agg")

LAMS = (1e-4, 1e-3, 1e-2)
METHODS = {"pnet": 0.0, "snet": 0.1, "mlp": 0.25}


def everything(results: Path) -> None:
    """3 data sets x 3 models x 3 lambdas x 2 rates x 2 seeds, no two numbers alike."""
    number = 0
    for dataset in ("wine", "digits", "iris"):
        for model, worse in METHODS.items():
            for lam in LAMS:
                for rate in (0.1, 0.2):
                    for seed in (0, 1):
                        number += 1
                        loss = 0.3 + worse + 20 * abs(lam - 1e-3) + rate + number / 1000
                        final = {
                            "val/loss": loss,
                            "test/loss": loss + 0.01,
                            "test/certified_accuracy/0.1": 0.9 - loss / 9,
                            "test/certified_accuracy/0.2": 0.8 - loss / 9,
                            "lipschitz_bound": 7.0 + seed,
                            "near_sparsity": 0.5 + lam,
                            "time/fit_s": 1.0 + worse + seed,
                        }
                        history = [
                            {"epoch": i, "step": 5 * i, "val/loss": loss + 1 / i, "train/objective": loss + 2 / i}
                            for i in (1, 2, 4)
                        ]
                        write_record(
                            results,
                            lam,
                            seed,
                            final,
                            dataset=dataset,
                            history=history,
                            params={"model.name": model, "optimizer.lr": rate},
                            inputs_kept=["age", "height"][: 1 + seed]
                            if model == "pnet"
                            else ["age", "height", "weight"],
                            lipschitz_local_values=[0.5, 1.0 + worse, None, 2.0 + seed],
                        )


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of these records."""
    folder = tmp_path_factory.mktemp("full")
    everything(folder)
    return folder


@pytest.fixture(scope="session")
def material(full: Path) -> Material:
    """What figures of them are drawn from."""
    metric = chosen_by("val/loss", None)
    trials = [TrialResult(number, {"lr": 0.1 * number}, [1.0 / (1 + number)], number == 9) for number in range(10)]
    searches = [SearchResult("made", {"val/loss": "minimize"}, trials, {"lr": 1.0})]
    numbers = [
        {"dataset": dataset, "method": f"m{k}", "metric": "log_loss", "value": 0.2 + k / 9, "seconds": 9.0 - k}
        for dataset in ("wine", "digits", "iris")
        for k in range(3)
    ]
    comparisons = [compared(full, pd.DataFrame(numbers), name=f"{full.name}_published.csv")]
    return Material(make([full], metric).choices, metric, searches, comparisons)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of four real runs: two of two inputs on the toy, two that were pruned."""
    folder = tmp_path_factory.mktemp("trained")
    toy: tuple[str, ...] = ("dataset=toy2d", "dataset.train_size=30", "model=mlp_factorized", "optimizer=sgd")
    toy += ("scheduler=constant", "optimizer.lr=0.3", "trainer.epochs=30", "seed=3")
    wide = ("model.hidden=70", "pruner.strength=2")
    changes = [(*toy, "reg=l2"), (*toy, "reg=pathprox"), (*wide, "pruner=l1_projection", "pruner.steps=3")]
    for own in [*changes, ("model.hidden=70", "pruner=magnitude")]:
        overrides = [*TINY, "hardware.precision=float64", "hardware.device=cpu", f"results_dir={folder}", *own]
        run_alone(check(compose_job(overrides)), Display(Console(file=io.StringIO())))
    return folder


@pytest.fixture
def networks(trained: Path, tmp_path: Path) -> Material:
    """Of copies of these, for figures that load networks."""
    shutil.copytree(trained, tmp_path / "networks")
    metric = chosen_by("val/loss", None)
    return Material(make([tmp_path / "networks"], metric).choices, metric)


@pytest.fixture(scope="module")
def runs(full: Any) -> Any:
    """All records as a frame: one row a run."""
    return pd.DataFrame(
        {
            "dataset": run.dataset,
            "model": run.params["model.name"],
            "lam": run.params["reg.lam"],
            "lr": run.params["optimizer.lr"],
            "seed": run.seed,
            "folder": run.folder,
        }
        | run.metrics
        for run in scan([full]).runs
    )
