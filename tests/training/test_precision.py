"""hardware.precision and hardware.compile change how a step computes, not what is measured, and not what is learnt."""

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from tiny import TINY

from psilon_bench.errors import UsageError
from psilon_bench.records import networks as saved
from psilon_bench.run.checks import prepare
from psilon_bench.training import compiled, precision
from psilon_bench.training.compiled import compile_step
from psilon_bench.training.engines import build_trainer, build_under

GRID = ("trainer.epochs=4", "trainer.eval_every=1", "tracking=none", "dataset=wine")


@pytest.fixture
def history(finished: Any) -> Any:
    """history("hardware.precision=float32"): the history of a tiny run."""
    return lambda *overrides: pd.read_csv(finished(*GRID, *overrides).folder / "history.csv")


def test_bfloat16_is_for_training_steps_alone(finished: Any, config: Any) -> None:
    """Products of a step are rounded to 8 bits; parameters are float32, and scores are those of the saved network."""
    record = finished(*GRID, "hardware.precision=bfloat16")
    network = saved.load(record.folder).network
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    task = prepare(config("dataset=wine", "hardware.precision=float32")).task
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(network(task.val.x), task.val.y)
    assert record.run["metrics"]["val/loss"] == pytest.approx(loss.item(), rel=1e-6)
    assert record.run["precision"] == "bfloat16"


def test_bfloat16_rounds_training(history: Any) -> None:
    """Otherwise the other tests say nothing: the losses differ, by far less than they fall."""
    rough, exact = history("hardware.precision=bfloat16"), history("hardware.precision=float32")
    off = (rough["train/loss"] - exact["train/loss"]).abs().max()
    assert 0 < off < 0.1 * (exact["train/loss"].iloc[0] - exact["train/loss"].iloc[-1])


@pytest.mark.parametrize("faster", [True, False])
def test_auto_is_one_of_both(finished: Any, history: Any, monkeypatch: pytest.MonkeyPatch, faster: Any) -> None:
    """Bit for bit the run of the precision that was found faster: the trial leaves networks and batches alone."""
    monkeypatch.setattr(precision, "WORTH", 0 if faster else float("inf"))
    record = finished(*GRID, "hardware.precision=auto")
    taken = "bfloat16" if faster else "float32"
    assert record.run["precision"] == taken
    same = history(f"hardware.precision={taken}", "rerun=true")
    pd.testing.assert_frame_equal(pd.read_csv(record.folder / "history.csv"), same, check_exact=True)


def test_recovery_never_takes_bfloat16(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its errors go far below what bfloat16 can tell apart."""
    monkeypatch.setattr(precision, "WORTH", 0)
    overrides = (
        "dataset=sparse_recovery",
        "model=diagonal_linear",
        "reg=none",
        "optimizer=sgd",
        "trainer.num_batches=1",
    )
    assert build_trainer([prepare(config(*overrides, "hardware.precision=auto"))]).precision == "float32"


def test_gain_is_the_median_ratio_after_a_warm_up() -> None:
    """first / second, one slow turn does not count."""
    first, second = itertools.chain([90.0, 3.0, 300.0], itertools.repeat(3.0)), itertools.repeat(2.0)
    assert precision.gain(first, second) == 1.5


def test_a_resumed_run_keeps_its_precision(config: Any) -> None:
    """Whatever a new trial would find."""
    members = [config(*TINY, *GRID, "hardware.precision=auto")]
    stopped = build_under([prepare(one) for one in members], torch.bfloat16)
    resumed = build_under([prepare(one) for one in members], None)
    resumed.load_state(stopped.state())
    assert resumed.precision == "bfloat16"


def test_tf32_is_refused_without_a_gpu(config: Any) -> None:
    with pytest.raises(UsageError, match=r"^hardware\.precision=tf32 is a GPU's, and this runs on cpu\. Set hardware"):
        prepare(config("hardware.precision=tf32"))


@pytest.mark.parametrize(
    "more",
    [
        ("trainer.batch_size=50",),  # and a short last batch
        ("pruner=l1_projection", "pruner.steps=10"),
        ("model=snet", "reg=lasso"),
        ("model=mlp_factorized", "reg=pathprox", "optimizer=sgd"),
        ("model=mlp", "reg=p_norm_decay", "reg.p=0.5", "scheduler=onecycle"),
    ],
)
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # in torch itself, as is the next
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.slow
@pytest.mark.parametrize("networks", [1, 2])
def test_compiled_is_as_uncompiled(config: Any, more: Any, networks: Any) -> None:
    """The same history in float64, to rounding; the warm-up has trained nothing."""

    def rows(compiled: Any) -> Any:
        seeds = [config(*TINY, *GRID, *more, f"seed={seed}") for seed in range(networks)]
        fit = build_trainer([prepare(own) for own in seeds])
        if compiled:
            assert compile_step(fit.training_step, fit.batches, fit.randomness) is None
        every = []
        fit.run(lambda member, row: every.append({"member": member} | row))
        return pd.DataFrame(every)

    pd.testing.assert_frame_equal(rows(compiled=False), rows(compiled=True), rtol=1e-10, atol=1e-12)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.slow
@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("networks", [1, 2])
def test_what_is_compiled(config: Any, asked: Any, networks: Any) -> None:
    """What is asked for, but for stacks on a CPU, which it slows."""
    own = config(*TINY, *GRID, f"hardware.compile={asked}".lower())
    fit = build_trainer([prepare(own) for _ in range(networks)])
    assert fit.tune(own.hardware) is None
    assert (fit.training_step.compiled is not None) == (asked and networks == 1)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.slow
def test_every_run_of_a_long_sweep_is_compiled(config: Any) -> None:
    """torch compiles the same code a few times only; each run starts that count anew."""
    import torch._dynamo

    with torch._dynamo.config.patch(recompile_limit=2, fail_on_recompile_limit_hit=True):
        for seed in range(4):
            fit = build_trainer([prepare(config(*TINY, *GRID, f"seed={seed}"))])
            assert compile_step(fit.training_step, fit.batches, fit.randomness) is None


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.slow
@pytest.mark.parametrize("faster", [True, False])
def test_auto_compiles_long_trainings_where_it_pays(config: Any, monkeypatch: pytest.MonkeyPatch, faster: Any) -> None:
    """It says what it found, its trial trains nothing, and a run that goes on stays as it was decided."""
    own = config(*TINY, *GRID, "hardware.compile=auto")
    fit, later, plain = (build_trainer([prepare(own)]) for _ in range(3))
    assert fit.tune(own.hardware) is None  # some steps of nothing
    assert fit.compiling.taken is False
    fit.compiling.taken = None
    monkeypatch.setattr(compiled, "LONG_S", 0)
    monkeypatch.setattr(compiled, "WORTH", 0 if faster else float("inf"))
    told = fit.tune(own.hardware)
    assert told is not None
    assert re.match(r"compiled in \d+ s, a step takes [\d.]+ ms instead of [\d.]+" + "(: it stays)?", told)
    assert (fit.training_step.compiled is not None) == faster
    torch.testing.assert_close(fit.stack.parameters, plain.stack.parameters, rtol=0, atol=0)
    monkeypatch.setattr(compiled, "LONG_S", float("inf"))
    later.load_state(fit.state())
    assert later.tune(own.hardware) is None
    assert (later.training_step.compiled is not None) == faster


@pytest.mark.parametrize("asked", ["true", "auto"])
def test_a_run_that_goes_on_within_its_pruning_is_not_compiled(config: Any, asked: Any) -> None:
    """None of the steps that are left would be."""
    own = config(*TINY, *GRID, "model=pnet", "pruner=l1_projection", "pruner.steps=3", f"hardware.compile={asked}")
    first, second = (build_trainer([prepare(own)]) for _ in range(2))
    first.step, first.compiling.taken = first.steps - 3, True
    second.load_state(first.state())
    assert second.tune(own.hardware) is None
    assert second.training_step.compiled is None


@pytest.mark.slow
def test_without_a_compiler_a_run_says_so_and_goes_on(history: Any, tmp_path: Path) -> None:
    """One line, and the numbers of an uncompiled run."""
    command = [
        str(Path(sys.executable).with_name("psilon-run")),
        *TINY,
        *GRID,
        "hardware.compile=true",
        "hardware.device=cpu",
    ]
    missing = {"CXX": "/no/such/compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, env={**os.environ, **missing}, capture_output=True, text=True, check=True)
    (line,) = (line for line in result.stdout.splitlines() if "not compiled" in line)
    said = r"note: hardware\.compile=true did not work, the run is not compiled: .*No working C\+\+ compiler found"
    assert re.match(said, line)
    (folder,) = Path("results/runs").glob("2*")
    plain = history("hardware.precision=float32", "rerun=true")
    pd.testing.assert_frame_equal(pd.read_csv(folder / "history.csv"), plain)
