"""Metrics of a person's own: recorded like the package's, the same in a stack as alone, part of the run's identity."""

import io
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor

from psilon_bench.config.schema import Config
from psilon_bench.errors import UsageError
from psilon_bench.metrics.functions import values
from psilon_bench.records.history import read_rows
from psilon_bench.records.record import Record
from psilon_bench.run.checks import prepare
from psilon_bench.run.display import Display
from psilon_bench.run.run import run
from psilon_bench.sweep.stack_shapes import can_stack

pytestmark = pytest.mark.unchecked_shapes  # what a function of yours gives may be anything

NUMBERS = itertools.count()
IMPORTS = "from typing import Any\nimport torch\nfrom torch import Tensor\n"
NETWORK = ("model=mlp", "model.hidden=4", "reg=l2")
RUN = ("trainer.epochs=3", "trainer.eval_every=1", "tracking=none")
SURE = "def sure(logits: Tensor, y: Tensor) -> Tensor:\n    return logits.abs().mean() + 0 * y.float().sum()\n"
WEIGHT = "def largest_weight(model: Any) -> Tensor:\n    return max(w.abs().max() for w in model.parameters())\n"
STACKED = WEIGHT.replace("max(w", "torch.stack([w").replace("parameters())", "parameters()]).max()")


@pytest.fixture
def measured(config: Callable[..., Config], tmp_path: Path) -> Callable[..., Config]:
    """measured(code, "sure"): a run with functions of this code, in a module that no other test has imported."""

    def measured(code: str, *functions: str, more: tuple[str, ...] = (), network: tuple[str, ...] = NETWORK) -> Config:
        module = f"metrics_of_test_{next(NUMBERS)}"
        (tmp_path / f"{module}.py").write_text(IMPORTS + code)
        named = ",".join(f"{module}.{name}" for name in functions)
        return config(*network, *RUN, *more, f"metrics.functions=[{named}]")

    return measured


def trained(*configs: Config) -> Sequence[Record]:
    """The records of a stack."""
    return run(list(configs), Display(Console(file=io.StringIO())))


@pytest.mark.parametrize("dataset", ["breast_cancer", "wine", "diabetes"])
def test_values_are_recorded_at_every_evaluation(measured: Any, dataset: Any) -> None:
    """Of predictions on validation and test rows, of the network once; both in history.csv and run.json."""
    (record,) = trained(measured(SURE + STACKED, "sure", "largest_weight", more=(f"dataset={dataset}",)))
    metrics, rows = record.run["metrics"], read_rows(record.folder / "history.csv")
    assert {"val/sure", "test/sure", "largest_weight"} <= metrics.keys()
    assert [{"val/sure", "largest_weight"} <= row.keys() for row in rows] == [True] * 3
    assert metrics["val/sure"] == rows[-1]["val/sure"]
    assert metrics["val/sure"] != metrics["test/sure"]
    state = torch.load(record.folder / "model.pt", weights_only=True)
    assert metrics["largest_weight"] == max(value.abs().max().item() for value in state.values())


def test_a_member_measures_what_the_lone_run_does(measured: Any) -> None:
    """In float64 to 1e-12, with seeds and lambdas that differ."""
    first = measured(SURE + STACKED, "sure", "largest_weight", more=("dataset=wine", "rerun=true"))
    configs = [
        first.model_copy(update={"seed": seed, "reg": first.reg.model_copy(update={"lam": lam})})
        for seed, lam in ((0, 0.0), (1, 1e-2), (5, 1.0))
    ]
    assert can_stack(configs, prepare(configs[0]))
    together = trained(*configs)
    for config, member in zip(configs, together, strict=True):
        (alone,) = trained(config)
        for row, other in zip(*(read_rows(one.folder / "history.csv") for one in (alone, member)), strict=True):
            for name in ("val/sure", "largest_weight"):
                assert other[name] == pytest.approx(row[name], rel=1e-12, abs=1e-12)


def test_a_branch_on_values_trains_one_by_one(measured: Any) -> None:
    """Python's max over tensors asks which is larger, which vmap cannot answer for all members."""
    config = measured(WEIGHT, "largest_weight")
    assert not can_stack([config, config.model_copy(update={"seed": 1})], prepare(config))


def test_a_baseline_is_measured_by_its_predictions(measured: Any) -> None:
    """A function of logits is recorded for what is fitted as a whole, too."""
    (record,) = trained(measured(SURE, "sure", network=("model=ridge", "reg=none")))
    assert {"val/sure", "test/sure"} <= record.run["metrics"].keys()
    assert record.run["status"] == "finished"


def test_code_and_choice_are_part_of_the_identity(measured: Any, config: Any) -> None:
    """Without a function the fingerprint is that of before there were any; one counts by its name and its code."""
    none = prepare(config(*NETWORK, *RUN)).config
    one = prepare(measured(SURE, "sure")).config
    assert "functions" not in none.determining()["metrics"]
    assert one.determining()["metrics"]["functions"] == one.metrics.functions
    assert none.identity.fingerprint != one.identity.fingerprint
    assert none.identity.code != one.identity.code


OF_TWO = "def a(logits: Tensor, y: Tensor) -> Tensor:\n"
NOT_VALID = r"metrics\.functions='\w+\.a' is not valid: it should be a function of \(logits, y\) or of \(model\), "
WRONG = {
    "def a(logits, y):\n    return logits.mean()\n": NOT_VALID,
    "def a(x: Tensor) -> Tensor:\n    return x.mean()\n": NOT_VALID,
    "def a(logits: Tensor, y: Tensor) -> float:\n    return 0.0\n": NOT_VALID,
    "class a:\n    pass\n": NOT_VALID,
    "1 / 0\n": r"metrics\.functions='\w+\.a' cannot be imported: ZeroDivisionError",
    f"{OF_TWO}    return logits\n": r"metrics\.functions: a gives a tensor of shape \(2, 1\) where a scalar is asked",
    f"{OF_TWO}    return 1 / 0\n": r"metrics\.functions: a fails on 2 rows: ZeroDivisionError: division by zero\. ",
    f"{OF_TWO}    return 1.0\n": r"metrics\.functions: a fails on 2 rows: AttributeError: 'float' object has no ",
}


@pytest.mark.unchecked_shapes  # a user has no check of annotations
@pytest.mark.parametrize("code", WRONG)
def test_what_is_no_metric_is_told_before_the_run(measured: Any, tmp_path: Path, code: Any) -> None:
    """In one line that names the function."""
    with pytest.raises(UsageError, match=WRONG[code]):
        prepare(measured(code, "a"))
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("name", ["loss", "accuracy", "path_norm", "brier", "roc_auc"])
def test_a_name_that_is_taken(measured: Any, name: Any) -> None:
    """A metric of the package, which reports and the choice of the best network go by, is not written over."""
    code = SURE.replace("sure", name)
    with pytest.raises(UsageError, match=rf"metrics\.functions: {name} has the name of another metric\. Change"):
        prepare(measured(code, name))
    with pytest.raises(UsageError, match=r"metrics\.functions: sure has the name of another metric"):
        prepare(measured(SURE, "sure", "sure"))


def test_a_shape_may_be_annotated(measured: Any) -> None:
    """jaxtyping's annotations of arrays of torch are as good as torch.Tensor."""
    pytest.importorskip("jaxtyping")
    code = "from jaxtyping import Float\n" + SURE.replace("-> Tensor", '-> Float[Tensor, ""]')
    prepare(measured(code, "sure"))
    with pytest.raises(UsageError, match=NOT_VALID.replace(r"\.a", r"\.sure")):
        measured(code.replace("Float[Tensor", "Float[Any"), "sure")


def test_functions_are_told_apart_by_their_arguments() -> None:
    """values() calls those alone that take as many."""

    def of_two(logits: Tensor, y: Tensor) -> Tensor:
        return logits + y

    def of_one(model: Tensor) -> Tensor:
        return model

    one, three, four = torch.tensor([1.0, 3.0, 4.0])
    assert values([of_one, of_two], one, three) == {"of_two": four}
    assert values([of_one, of_two], four) == {"of_one": four}
