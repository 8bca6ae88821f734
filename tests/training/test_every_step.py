"""A run that is stopped at any of its steps and goes on is the run that was not: each pruner, each network it fits."""

import inspect
import io
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from made_images import write_mnist

from psilon_bench.config.components import locate
from psilon_bench.config.options import options
from psilon_bench.config.schema import ComponentSection, ModelSection
from psilon_bench.errors import UsageError
from psilon_bench.pruning.pruner import Pruner
from psilon_bench.run.checks import prepare
from psilon_bench.training.engine import Row
from psilon_bench.training.engines import build_engine

SMALL = {"hidden": 5, "depth": 2, "blocks": [[2, 3], [2]], "channels": [2, 3], "per_stage": 1}
VALUES = {"steps": 4, "strength": 1.5, "threshold": 0.2}
SHORT = ("trainer.epochs=2", "trainer.eval_every=1", "trainer.num_batches=3")
RUN = (*SHORT, "tracking=none", "optimizer=sgd", "reg=none")


def smaller(section: Any, values: Any) -> Any:
    """The section with those of the values that are arguments of it."""
    own = {key: value for key, value in values.items() if key in section.arguments}
    return type(section).model_validate(section.model_dump(by_alias=True) | own)


MODELS = {name: smaller(one, SMALL) for name, one in options("model").items() if not one.is_baseline}
PRUNERS = {name: smaller(one, VALUES) for name, one in options("pruner").items()}


def fits(pruner: ComponentSection, model: ModelSection, trainer: Any) -> bool:
    """Whether the pruner accepts the network for a run of six steps."""
    try:
        pruner.build().check(model.build(num_features=3, num_outputs=2, input_shape=(3, 8, 8)), trainer, 6)
    except UsageError:
        return False
    return True


@pytest.fixture
def composed(config: Any, tmp_path: Path) -> Any:
    """composed("pnet", "units", "1"): a short run with an epoch of fine-tuning."""

    def composed(model: Any, pruner: Any, tuning: Any = "null") -> Any:
        images = "input_shape" in inspect.signature(locate(MODELS[model].target)).parameters
        recovery = ("dataset=sparse_recovery", "dataset.num_features=9", "dataset.num_measurements=6")
        table = recovery if model == "diagonal_linear" else ("dataset=wine", "dataset.max_rows=60")
        data = write_mnist(tmp_path, side=6, sizes=(40, 20)) if images else table
        run = config(*data, *RUN, f"trainer.prune_then_finetune={tuning}")
        return run.model_copy(update={"model": MODELS[model], "pruner": PRUNERS[pruner]})

    return composed


def through_file(state: Any) -> Any:
    """The state as it comes back from a checkpoint."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    with torch.serialization.safe_globals([Counter]):
        return torch.load(file, weights_only=True)


def trained(run: Any, state: Any = None) -> Any:
    """The trainer after a run, from a state where given, and its rows; of a whole run also the states after its steps.

    Each state comes with the number of rows there were before it.
    """
    fit = build_engine([prepare(run)])
    rows: list[Row] = []
    states: list[tuple[int, Any]] = []

    def keep() -> None:
        if state is None:
            states.append((len(rows), through_file(fit.state())))

    if state is not None:
        fit.load_state(state)
    fit.run(lambda member, row: rows.append(row), lambda epoch: None, keep)
    return getattr(fit, "trainer", fit), rows, states


@pytest.mark.sampled(every=4)
@pytest.mark.parametrize("models", [2, pytest.param(None, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("pruner", "tuning"), [*((pruner, "1") for pruner in PRUNERS), ("l1_projection", "null")])
def test_stopped_at_any_step(composed: Any, pruner: Any, tuning: Any, models: Any) -> None:
    """The rows that are left, the scores before the pruning and all weights are the same to the last bit.

    Of the networks that a pruner fits two in the quick test, all without a pruner, and all in the slow one.
    """
    tunable = [model for model in MODELS if fits(PRUNERS[pruner], MODELS[model], composed("mlp", "none", "1").trainer)]
    tuning = tuning if tunable and type(PRUNERS[pruner].build()) is not Pruner else "null"
    trainer = composed("mlp", "none").trainer
    fitting = [model for model in MODELS if fits(PRUNERS[pruner], MODELS[model], trainer)]
    assert fitting
    first = list(PRUNERS).index(pruner) % len(fitting)  # other pruners have other networks
    quick = [*fitting[first:], *fitting][: models if pruner != "none" else None]
    for model in quick:
        run = composed(model, pruner, tuning)
        whole, rows, states = trained(run)
        assert len(states) == 6 + 3 * (tuning == "1")
        for done, state in states:
            resumed, after, _ = trained(run, state)
            assert after == rows[done:]
            assert resumed.unpruned == whole.unpruned
            for name, value in whole.stack.everything.items():
                assert torch.equal(resumed.stack.everything[name], value)
