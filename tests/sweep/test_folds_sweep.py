"""A sweep over folds: each fold is the lone run it would be, whatever it shares a program with; refits are apart."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from psilon_bench.config.check import check
from psilon_bench.config.schema import ModelSection, RegularizerSection
from psilon_bench.errors import UsageError
from psilon_bench.records.history import read_rows
from psilon_bench.report.datasets import runs_by_dataset
from psilon_bench.report.grouping import groups_of
from psilon_bench.report.metric import chosen_by
from psilon_bench.report.records import scan
from psilon_bench.report.selection import choose
from psilon_bench.run.checks import prepare
from psilon_bench.sweep.stack_shapes import by_shape
from psilon_bench.training.engines import build_trainer
from psilon_bench.training.substack import as_large_as, state_of_members

TABLE = ["dataset=table", "dataset.path=my.csv", "dataset.folds=5"]
FOLDS = [f"dataset.fold={fold}" for fold in range(5)]


@pytest.fixture(autouse=True)
def _table() -> None:
    """178 rows, 142 of them in folds of 28 or 29; rare levels are in the training rows of some folds alone."""
    rows = np.arange(178)
    colour = np.where(rows % 2, "red", "green").astype(object)
    colour[[11, 60, 140]] = "blue", "black", "white"
    frame = pd.DataFrame({"x": (7 * rows) % 31 + 0.5, "z": (11 * rows) % 17 - 3.0, "colour": colour})
    frame.assign(y=frame["x"] * 0.1 + (rows % 5)).to_csv("my.csv", index=False)


@pytest.fixture
def sweep(grid: Any) -> Callable[..., list[dict[str, Any]]]:
    """sweep([["seed=0"], ["seed=1"]], "name=a"): run.json of each run of a multirun, with its folder."""

    def sweep(jobs: list[list[str]], *common: str) -> list[dict[str, Any]]:
        return list(grid(jobs, *common).values())

    return sweep


def same_tensors(one: Any, other: Any) -> None:
    """The entries of two files, of the same shapes."""
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-12, atol=1e-12)


def numbers(run: dict[str, Any]) -> Any:
    """Metrics but for times, and the history."""
    metrics = {name: value for name, value in run["metrics"].items() if not name.startswith("time/")}
    return [metrics, *read_rows(Path(run["folder"], "history.csv"))]


@pytest.mark.parametrize(
    "asked",
    [
        (),
        pytest.param(("model=mlp", "reg=l2"), marks=pytest.mark.slow),
        ("model=mlp", "reg=group_lasso", "reg.groups=inputs"),
        pytest.param(("pruner=path",), marks=pytest.mark.slow),
        ("pruner=units", "trainer.prune_then_finetune=2", "model=mlp", "reg=l2"),
    ],
    ids=["pnet", "mlp", "groups", "pruned", "tuned"],
)
def test_members_are_lone_runs(sweep: Any, config: Any, asked: Any) -> None:
    """Folds of unequal rows and of unequal columns, in one stack; equal to 1e-12 in float64, files and all."""
    jobs = [[fold] for fold in FOLDS]
    configs = [config(*TABLE, fold, *asked) for fold in FOLDS]
    assert len(list(by_shape(configs, prepare(configs[0])))) == 1
    stacked = sweep(jobs, *TABLE, *asked, "hardware.plan=stacked", "name=stacked")
    together = {run["title"]: run for run in stacked}
    alone = {run["title"]: run for run in sweep(jobs, *TABLE, *asked, "hardware.plan=serial", "name=alone")}
    assert len(together) == len(alone) == 5
    shapes = {(run["task"]["num_features"], run["task"]["rows"]["train"]) for run in alone.values()}
    assert len(shapes) > 2, "the data set does not test what it should"
    for title, run in together.items():
        assert run["status"] == "finished"
        for row, lone in zip(numbers(run), numbers(alone[title]), strict=True):
            assert row == pytest.approx(lone, rel=1e-12, abs=1e-12)
        for file in Path(alone[title]["folder"]).glob("*.pt"):
            same_tensors(torch.load(Path(run["folder"], file.name)), torch.load(file))
        bounds = [pd.read_csv(Path(one["folder"], "inputs.csv")) for one in (run, alone[title])]
        pd.testing.assert_frame_equal(*bounds, rtol=1e-12)


def folds_of(config: Any, asked: Any) -> list[Any]:
    """The folds, checked, of a metric that sees no weights where that is asked for."""
    Path("metric_of_folds.py").write_text(
        "from torch import Tensor\n\ndef spread(logits: Tensor, y: Tensor) -> Tensor:\n    return (logits - y).std()\n",
        encoding="utf-8",
    )
    return [config(*TABLE, fold, *asked) for fold in FOLDS]


@pytest.mark.parametrize(
    ("asked", "layers", "sizes"),
    [
        ((), (), [5]),
        (("trainer.batch_size=114",), (), [2, 3]),
        (("metrics.functions=[metric_of_folds.spread]",), (), [2, 3]),
        ((), (nn.BatchNorm1d(2),), [2, 3]),
        ((), (nn.Dropout(),), [2, 3]),
    ],
    ids=["filled-up", "another-batch", "own-metric", "batch-norm", "dropout"],
)
def test_folds_of_unequal_rows_share_a_stack(config: Any, asked: Any, layers: Any, sizes: Any) -> None:
    """Rows of weight 0 fill them up, but not where the network or a metric would see them, or with batches more."""
    folds = folds_of(config, ("dataset.drop=[colour]", *asked))
    assert {len(prepare(fold).task.train) for fold in folds} == {114, 115}
    member = prepare(folds[0])
    if layers:
        member = replace(member, model=nn.Sequential(*layers, nn.Linear(2, 1)).double())
    assert sorted(len(group) for group in by_shape(folds, member)) == sizes


@pytest.mark.parametrize(
    ("asked", "network", "alike"),
    [
        ((), None, True),
        (("model=psilon_resnet", "model.hidden=4", "model.depth=2"), None, True),
        (("reg=none",), "Plain", True),
        (("pruner=projected",), None, False),
        (("reg=none",), "Signed", False),
    ],
    ids=["pnet", "psilon-resnet", "own", "pruned-on-the-way", "inputs-in-between"],
)
def test_folds_of_unequal_columns_share_a_stack(config: Any, asked: Any, network: Any, alike: Any) -> None:
    """Inputs that are 0 fill them up, but not where a pruner would count them, or where they would lie in between."""
    folds = folds_of(config, asked)
    if network:
        model = ModelSection.model_validate({"name": "own", "_target_": f"user_networks.{network}"})
        folds = [fold.model_copy(update={"model": model}) for fold in folds]
    groups = list(by_shape(folds, prepare(folds[0])))
    widths = [{prepare(fold).task.train.x.shape[1] for fold in group} for group in groups]
    assert ([len(width) > 1 for width in widths] == [True]) if alike else all(len(width) == 1 for width in widths)


@pytest.mark.parametrize("network", ["Averaging", "Directed", "Remembering"])
def test_rows_do_not_fill_up_where_a_network_would_see_them_later(config: Any, network: str) -> None:
    """Once training has moved a parameter, or in a row of zeros, or by a buffer."""
    model = ModelSection.model_validate({"name": "own", "_target_": f"user_networks.{network}"})
    folds = folds_of(config, ("dataset.drop=[colour]", "reg=none"))
    folds = [fold.model_copy(update={"model": model}) for fold in folds]
    assert sorted(len(group) for group in by_shape(folds, prepare(folds[0]))) == [2, 3]


@pytest.mark.parametrize("regularizer", ["MeanSquare", "Rising"])
def test_columns_do_not_fill_up_where_a_penalty_would_see_them(config: Any, regularizer: str) -> None:
    """Nor where the first of the configurations has none of it."""
    model = ModelSection.model_validate({"name": "own", "_target_": "user_networks.Plain"})
    folds = [fold.model_copy(update={"model": model}) for fold in folds_of(config, ("reg=none",))]
    section = {"name": "own", "_target_": f"user_regularizers.{regularizer}"}
    regs = [RegularizerSection.model_validate(section | {"lam": lam}) for lam in (0.0, 1.0)]
    configs = [fold.model_copy(update={"reg": reg}) for reg in regs for fold in folds]
    for group in by_shape(configs, prepare(configs[0])):
        assert len({prepare(one).task.train.x.shape[1] for one in group}) == 1


def test_measures_of_a_filled_up_stack_are_taken_together(config: Any) -> None:
    """Once for each width, not for each network; they are those of the lone networks."""
    members = [prepare(config(*TABLE, "model.hidden=4", fold, f"seed={seed}")) for fold in FOLDS for seed in (0, 1)]
    trainer, calls = build_trainer(members), []
    measures = trainer.recipe.measures

    def noted(model: Any) -> dict[str, torch.Tensor]:
        calls.append(model)
        return measures(model)

    rows = trainer.evaluation.validation("val", noted)
    assert len(calls) == len({member.task.train.x.shape[1] for member in members}) < len(members)
    for row, member in zip(rows, members, strict=True):
        lone = build_trainer([member])
        assert row == pytest.approx(lone.evaluation.validation("val", lone.recipe.measures)[0], rel=1e-12)


@pytest.mark.parametrize("stay", [[0, 2], [2], [0, 1]], ids=["two", "one", "the-largest"])
def test_the_largest_member_may_leave(config: Any, stay: Any) -> None:
    """The others go on from a state without what filled them up, as in a race, and end as they would have."""
    small = ("model.hidden=4", "trainer.epochs=8", "trainer.eval_every=2")
    members = [prepare(config(*TABLE, *small, fold)) for fold in FOLDS]
    by_width = sorted(members, key=lambda member: member.task.train.x.shape[1])
    members = [by_width[0], by_width[-1], by_width[1]]
    assert len({member.task.train.x.shape[1] for member in members}) > 1
    whole, rest = build_trainer(members), build_trainer([members[place] for place in stay])
    whole.advance(3, lambda *_: None, lambda _: None, lambda: None)
    rest.load_state(as_large_as(rest.state(), state_of_members(copy.deepcopy(whole.state()), stay)))
    for trainer in (whole, rest):
        trainer.run(lambda *_: None)
        trainer.select()
    for place, member in enumerate(stay):
        same_tensors(rest.stack.state(place), whole.stack.state(member))
        assert rest.members[place].last_row == pytest.approx(whole.members[member].last_row, rel=1e-10)


def test_folds_are_one_structure_and_refits_are_not(config: Any) -> None:
    """Folds and repeats may share a stack, whose checks are those of one of them."""

    def structure(*asked: str) -> str:
        return config(*TABLE, *asked).structure()

    assert structure("dataset.fold=0") == structure("dataset.fold=4", "dataset.repeat=3", "dataset.split_seed=2")
    assert structure("dataset.fold=0") != structure("dataset.fold=all")
    assert config(*TABLE, "dataset.fold=0").dataset.source() == config(*TABLE, "dataset.fold=1").dataset.source()


@pytest.mark.parametrize(
    ("jobs", "message"),
    [
        ([["dataset.fold=0"], ["dataset.fold=5"]], r"dataset.fold=5 is none .* No run was started"),
        (
            [["dataset.fold=0"], ["dataset.fold=all"]],
            r"trainer.select=best needs validation rows, .* No run was started",
        ),
    ],
)
def test_a_wrong_fold_stops_a_sweep_before_its_first_run(sweep: Any, jobs: Any, message: Any) -> None:
    with pytest.raises(UsageError, match=message):
        sweep(jobs, *TABLE, "trainer.select=best")
    assert not Path("results").exists() or not list(Path("results").rglob("run.json"))


def test_titles_tell_folds_apart(config: Any) -> None:
    """In a sweep and alone; the first repeat goes without saying."""
    titles = [config(*TABLE, *asked).title for asked in (["dataset.fold=3"], ["dataset.fold=3", "dataset.repeat=1"])]
    assert [title.partition("seed=0 ")[2] for title in titles] == ["fold=3", "fold=3 repeat=1"]
    baseline = config(*TABLE, "model=ridge", "reg=none", "dataset.fold=all").title
    assert baseline == "ridge alpha=1.0 seed=0 fold=all"
    brought = "dataset=openml", "dataset.task_id=3", "dataset.splits=openml", "dataset.test_fold=9"
    assert config(*brought).title.endswith("seed=0 test_fold=9")
    assert "fold" not in config("dataset=openml", "dataset.task_id=3").title


@pytest.mark.slow
def test_a_report_takes_means_over_folds_and_keeps_refits_apart(sweep: Any) -> None:
    """A mean over five folds is that of their numbers, and no test number of a refit enters it."""
    jobs = [[fold, lam] for fold in [*FOLDS, "dataset.fold=all"] for lam in ("reg.lam=1e-3", "reg.lam=1e-2")]
    runs = sweep(jobs[:-1], *TABLE)
    records = scan([Path("results/runs")]).runs
    assert {name: len(part) for name, part in runs_by_dataset(records).items()} == {"my": 10, "my fold=all": 1}
    folds, refit = (choose(group, chosen_by("val/loss", None)) for group in groups_of(records)[0])
    assert folds.setting is not None
    chosen = dict(folds.setting.values)["reg.lam"]
    losses = [
        run["metrics"]["val/loss"] for run in runs if run["params"]["reg.lam"] == chosen and "all" not in run["title"]
    ]
    assert folds.validation is not None
    assert folds.validation.n == 5
    assert folds.validation.mean == pytest.approx(np.mean(losses))
    assert (refit.validation, [doubt.flag for doubt in refit.doubts]) == (None, ["refit"])
    assert len(folds.setting.numbers("test/loss")) == 5


def test_a_report_says_which_fold_is_missing(sweep: Any) -> None:
    """By seed and fold."""
    jobs = [[fold, lam] for fold in FOLDS[:3] for lam in ("reg.lam=1e-3", "reg.lam=1e-2")]
    sweep(jobs[:-1], *TABLE)
    ((group,), _) = groups_of(scan([Path("results/runs")]).runs)
    (doubt,) = [one for one in choose(group, chosen_by("val/loss", None)).doubts if one.flag == "seeds"]
    assert "lacks seed 0 fold 2" in doubt.note


def test_the_same_command_finds_its_folds_done(sweep: Any) -> None:
    """A fold is a run of its own, with a record of its own."""
    first = sweep([[fold] for fold in FOLDS[:3]], *TABLE)
    again = sweep([[fold] for fold in FOLDS], *TABLE)
    assert {run["identity"] for run in first} < {run["identity"] for run in again}
    assert len(list(Path("results/runs").glob("*/run.json"))) == 5
    assert {json.loads((Path(run["folder"]) / "run.json").read_text())["status"] for run in again} == {"finished"}


def test_folds_are_checked_with_their_configuration(composed: Any) -> None:
    """Before any table is read: there is none here."""
    with pytest.raises(UsageError, match=r"dataset.fold=7 is none of the folds of dataset.folds=5"):
        check(composed("dataset=table", "dataset.path=none.csv", "dataset.folds=5", "dataset.fold=7"))
