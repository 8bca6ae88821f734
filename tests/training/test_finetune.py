"""Training, pruning, fine-tuning: zeros stay, the rest learns, and it is one run in a stack and across a stop."""

import functools
import io
from typing import Any

import pandas as pd
import pytest
import torch
from rich.console import Console
from stoppable import rows_of

from psilon_bench.errors import UsageError
from psilon_bench.records.history import read_rows
from psilon_bench.run import run as runner
from psilon_bench.run.checks import prepare
from psilon_bench.run.display import Display
from psilon_bench.training.engines import build_engine
from psilon_bench.training.finetune import FineTuning

RUN = ("model=mlp", "model.hidden=8", "dataset=wine", "trainer.epochs=4", "trainer.eval_every=2", "tracking=none")
TUNED = (*RUN, "pruner=magnitude", "pruner.amount=0.7", "trainer.prune_then_finetune=5", "optimizer.lr=0.02")
UNITS = (*RUN, "model=mlp_factorized", "model.hidden=6", "optimizer=sgd", "optimizer.lr=0.1", "scheduler=constant")
PATHPROX = (*UNITS, "reg=pathprox", "pruner=units", "pruner.threshold=0.8", "trainer.prune_then_finetune=5")
KINDS = {"magnitude": TUNED, "units": PATHPROX}


@pytest.fixture
def fitted(config: Any) -> Any:
    """fitted(overrides, seeds, lams): a FineTuning of these members, not yet run."""
    composed = functools.cache(config)

    def fitted(overrides: Any, seeds: Any = (0,), lams: Any = (0.03, 0.01)) -> Any:
        common = composed(*overrides)
        own = [
            common.model_copy(update={"seed": seed, "reg": common.reg.model_copy(update={"lam": lam})})
            for seed, lam in zip(seeds, lams, strict=False)
        ]
        return build_engine([prepare(one) for one in own])

    return fitted


@pytest.mark.parametrize("kind", KINDS)
def test_zeros_stay_and_the_rest_learns(fitted: Any, kind: Any) -> None:
    """What is 0 after the pruning is exactly 0 at the end, and nothing else is; weights have moved, the loss fell."""
    fit = fitted(KINDS[kind])
    fit.trainer.run(lambda member, row: None)
    fit.prune()
    before = {name: value.clone() for name, value in fit.trainer.stack.tensors.items()}
    rows = rows_of(fit)[0]
    zeros, weights = 0, [(name, value) for name, value in before.items() if value.dim() > 1]
    for name, value in weights:
        after = fit.trainer.stack.tensors[name]
        assert torch.equal(after == 0, value == 0)
        zeros += int((value == 0).sum())
        if value.any():
            assert not torch.equal(after, value)
    assert zeros > 0.2 * sum(value.numel() for _, value in weights)
    assert [row["epoch"] for row in rows] == [6, 8, 9]
    assert rows[-1]["train/loss"] < rows[0]["train/loss"]
    assert rows[-1]["train/objective"] == rows[-1]["train/loss"]  # without the regularizer
    assert rows[-1]["val/loss"] < fit.trainer.unpruned[0]["pruned/val/loss"]


def test_the_rate_is_the_last_of_the_training(fitted: Any) -> None:
    """Of a schedule that ends low."""
    rows = rows_of(fitted(TUNED))[0]
    assert rows[0]["lr"] > rows[1]["lr"]
    assert {row["lr"] for row in rows[1:]} == {rows[1]["lr"]}


@pytest.mark.parametrize("kind", KINDS)
def test_members_of_a_stack_are_lone_runs(fitted: Any, kind: Any) -> None:
    """Rows, scores between and weights, of unequal seeds and strengths; one diverges on the way, or loses all units."""
    seeds, lams = (3, 4, 5), (0.1, 1e308, 0.01)
    together = fitted(KINDS[kind], seeds, lams)
    rows = rows_of(together)
    ends = {"magnitude": ("failed", "diverged: the objective is inf at step 1"), "units": ("finished", None)}
    assert (together.members[1].status, together.members[1].reason) == ends[kind]
    for index in (0, 2):
        alone = fitted(KINDS[kind], seeds[index : index + 1], lams[index : index + 1])
        (own,) = rows_of(alone)
        for one, other in zip(rows[index], own, strict=True):
            assert one == pytest.approx(other, rel=1e-9, abs=1e-12)
        assert together.trainer.unpruned[index] == pytest.approx(alone.trainer.unpruned[0], rel=1e-9)
        for name, value in alone.trainer.stack.state(0).items():
            torch.testing.assert_close(together.trainer.stack.state(index)[name], value, rtol=1e-9, atol=1e-12)


@pytest.mark.sampled(every=3)
@pytest.mark.parametrize("seeds", [(0,), (3, 4)])
@pytest.mark.parametrize("stop_at", [3, 20, 37])
def test_stopped_and_resumed_is_not_stopped(fitted: Any, seeds: Any, stop_at: Any) -> None:
    """To the last bit, in the training (20 steps), at its end and in the fine-tuning (25)."""
    whole = fitted(TUNED, seeds)
    expected = rows_of(whole)
    first, second = fitted(TUNED, seeds), fitted(TUNED, seeds)
    before = rows_of(first, stop_at)
    file = io.BytesIO()
    torch.save(first.state(), file)
    file.seek(0)
    second.load_state(torch.load(file, weights_only=True))
    after = rows_of(second)
    assert [one + other for one, other in zip(before, after, strict=True)] == expected
    assert second.trainer.unpruned == whole.trainer.unpruned
    for name, value in whole.trainer.last.items():
        assert torch.equal(second.trainer.last[name], value)
    for one, other in zip(whole.trained, second.trained, strict=True):
        assert one.keys() == other.keys() == {"model", "best"}
        assert all(torch.equal(one[file][name], other[file][name]) for file in one for name in one[file])


def test_the_record_has_the_scores_before_and_after(finished: Any) -> None:
    """model.pt is what was trained, pruned.pt what was fine-tuned; val/loss and test/loss are of the latter."""
    record = finished("model=mlp", "dataset=wine", *TUNED[-4:])
    rows, metrics = pd.read_csv(record.folder / "history.csv"), record.run["metrics"]
    assert rows["epoch"].tolist() == list(range(1, 8))
    assert metrics["unpruned/val/loss"] == pytest.approx(rows["val/loss"][1], rel=1e-5)
    assert metrics["pruned/val/loss"] != pytest.approx(rows["val/loss"][1], rel=1e-3)
    assert metrics["val/loss"] == pytest.approx(rows["val/loss"][6], rel=1e-5)
    assert {"test/loss", "unpruned/val/accuracy", "pruned/val/accuracy"} <= metrics.keys()
    trained, tuned = (torch.load(record.folder / name, weights_only=True) for name in ("model.pt", "pruned.pt"))
    zeros = sum(int((value == 0).sum()) for name, value in tuned.items() if name.endswith("weight"))
    assert zeros == round(0.7 * sum(value.numel() for name, value in trained.items() if name.endswith("weight")))
    assert all(bool((value != 0).all()) for name, value in trained.items() if name.endswith("weight"))


def test_a_normalised_network_is_tuned_as_a_plain_one(finished: Any) -> None:
    """P-Net, projected to zeros: the weights are tuned, no lengths and directions."""
    record = finished("pruner=l1_projection", "pruner.steps=4", "pruner.strength=2", "trainer.prune_then_finetune=2")
    rows = pd.read_csv(record.folder / "history.csv")
    assert rows["train/objective"].iloc[-1] == rows["train/loss"].iloc[-1] != rows["path_norm"].iloc[-1]
    assert "unit_sparsity" not in rows  # of which only plain networks know
    tuned = torch.load(record.folder / "pruned.pt", weights_only=True)
    assert all(name.endswith(("weight", "bias")) for name in tuned)
    assert record.run["metrics"]["weight_sparsity"] > 0.3


def test_what_the_fine_tuning_has_not_stays_empty(finished: Any) -> None:
    """The objective of weight decay is that of the regularized training."""
    record = finished("model=mlp", "dataset=wine", "reg=unit_path_norm", *TUNED[-4:])
    rows = pd.read_csv(record.folder / "history.csv")
    assert rows["wd_objective"].notna().tolist() == [True] * 2 + [False] * 5
    assert rows.drop(columns=["wd_objective", "wd_objective_raw"]).notna().all(axis=None)
    assert "wd_objective" not in read_rows(record.folder / "history.csv")[-1]


def test_a_stopped_run_goes_on(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the same command, from the checkpoint of the fine-tuning: the same history as without the stop."""
    runs = [config(*TUNED, "trainer.checkpoint_every=1", f"name={name}") for name in ("whole", "halves")]
    quiet = Display(Console(file=io.StringIO()))
    (whole,) = runner.run(runs[:1], quiet)
    outcomes = FineTuning.outcomes
    monkeypatch.setattr(FineTuning, "outcomes", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        runner.run(runs[1:], quiet)
    monkeypatch.setattr(FineTuning, "outcomes", outcomes)
    (halves,) = runner.run(runs[1:], quiet)
    assert halves.run["times"]["resumed"]
    one, other = (pd.read_csv(record.folder / "history.csv") for record in (whole, halves))
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert halves.run["metrics"]["test/loss"] == whole.run["metrics"]["test/loss"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("pruner=none",), r"prune_then_finetune=5 trains what a pruner leaves, and pruner=none prunes nothing. Take "),
        (("pruner=units", "trainer.early_stopping=2"), r"before which trainer.early_stopping may stop. Set it null."),
        (("pruner=magnitude", "trainer.target_loss=0.1"), r"before which trainer.target_loss may stop. Set it null."),
    ],
)
def test_what_cannot_be_is_refused(config: Any, overrides: Any, message: Any) -> None:
    """One line before anything is written."""
    with pytest.raises(UsageError, match=message):
        prepare(config(*RUN, "trainer.prune_then_finetune=5", *overrides))
