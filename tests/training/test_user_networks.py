"""Networks of a person's own: what cannot be stacked trains one by one, and a sweep's member is the lone run."""

import io
from typing import Any

import pytest
import torch
import user_networks
from rich.console import Console
from stoppable import rows_of

from psilon_bench.config.schema import DatasetSection, ModelSection
from psilon_bench.records.networks import load
from psilon_bench.run import run as runner
from psilon_bench.run.checks import prepare
from psilon_bench.run.display import Display
from psilon_bench.sweep.placement import place_here
from psilon_bench.sweep.sweep import run_sweep
from psilon_bench.training.engines import build_engine
from psilon_bench.training.trainer import Trainer

RUN = ("dataset=wine", "reg=none", "trainer.epochs=4", "trainer.num_batches=3", "trainer.eval_every=1", "tracking=none")
ALONE = {"Dropped", "Scaled", "Shifted", "Branching"}
NETWORKS = [name for name, value in vars(user_networks).items() if isinstance(value, type) and name != "Tensor"]


@pytest.fixture
def runs(config: Any) -> Any:
    """runs("Dropped"): three runs of a network that differ in seed and split."""

    def runs(network: Any, *overrides: Any) -> Any:
        common = config(*RUN, *overrides)
        model = ModelSection.model_validate({"name": network.lower(), "_target_": f"user_networks.{network}"})
        dataset = [common.dataset.model_dump(by_alias=True) | {"split_seed": seed} for seed in (3, 4, 5)]
        return [
            common.model_copy(update={"seed": 3 + i, "model": model, "dataset": DatasetSection.model_validate(own)})
            for i, own in enumerate(dataset)
        ]

    return runs


@pytest.fixture
def trained() -> Any:
    """trained(config): the record of the lone run."""
    return lambda config: runner.run([config], Display(Console(file=io.StringIO())))[0]


def test_every_network_is_met() -> None:
    """No class of user_networks is left out."""
    assert len(NETWORKS) == 12
    assert set(NETWORKS) > ALONE


@pytest.mark.sampled(every=3)
@pytest.mark.parametrize(("network", "plan"), [*((network, "stacked") for network in NETWORKS), ("Dropped", "auto")])
def test_a_member_of_a_sweep_is_the_lone_run(
    runs: Any, trained: Any, network: Any, plan: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights and scores to rounding, model.pt can be loaded, and nothing is said to have failed on the way."""
    group = runs(network, f"hardware.plan={plan}", "results_dir=together")
    assert place_here(group).size == (1 if network in ALONE else 3)
    outcomes = run_sweep(group, None, None)
    assert "tried" not in capsys.readouterr().out
    for one in runs(network, "results_dir=alone"):
        alone, member = trained(one), next(run for run in outcomes.values() if run["fingerprint"] == one.fingerprint())
        assert member["metrics"]["test/loss"] == pytest.approx(alone.run["metrics"]["test/loss"], rel=1e-10)
        first, second = (load(folder).network.state_dict() for folder in (alone.folder, member["folder"]))
        assert first.keys() == second.keys()
        for name, value in first.items():
            torch.testing.assert_close(second[name], value, rtol=1e-10, atol=1e-12)


@pytest.mark.sampled(every=4)
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("stop_at", [1, 4, 6, 11])
def test_stopped_and_resumed_is_not_stopped(runs: Any, network: Any, stop_at: Any) -> None:
    """History and weights to the last bit, in another process with other random numbers."""
    (one, *_) = runs(network)
    whole, first, second = (build_engine([prepare(one)]) for _ in range(3))
    expected, before, file = rows_of(whole), rows_of(first, stop_at), io.BytesIO()
    torch.save(first.state(), file)
    file.seek(0)
    torch.rand(5)
    second.load_state(torch.load(file, weights_only=True))
    assert before[0] + rows_of(second)[0] == expected[0]
    assert isinstance(whole, Trainer)
    assert isinstance(second, Trainer)
    for name, value in whole.stack.everything.items():
        assert torch.equal(second.stack.everything[name], value)


def test_random_numbers_are_the_runs_own(runs: Any) -> None:
    """Bit for bit those of its seed, whatever the process drew before; what the process draws then is as without it."""
    first, other, _ = runs("Dropped")
    histories = []
    for draws, one in ((1, first), (9, first), (1, other)):
        torch.manual_seed(0)
        torch.rand(draws)
        expected = torch.get_rng_state()
        histories.append(rows_of(build_engine([prepare(one)])))
        place_here([first, other])
        assert torch.equal(torch.get_rng_state(), expected)
    assert histories[0] == histories[1] != histories[2]


def test_frozen_parameters_stay(runs: Any) -> None:
    """Alone and in a stack."""
    group = runs("Frozen")
    for size in (1, 3):
        members = [prepare(one) for one in group[:size]]
        starts = [{name: value.clone() for name, value in member.model.state_dict().items()} for member in members]
        fit = build_engine(members)
        assert isinstance(fit, Trainer)
        rows_of(fit)
        for index, start in enumerate(starts):
            for name, value in fit.stack.state(index).items():
                assert torch.equal(value, start[name]) == name.startswith("first")


def test_tied_weights_stay_tied(runs: Any) -> None:
    """In every network that comes out of a stack."""
    fit = build_engine([prepare(one) for one in runs("Tied")])
    assert isinstance(fit, Trainer)
    rows_of(fit)
    for index in range(3):
        network = fit.stack.network(index)
        assert isinstance(network, user_networks.Tied)
        assert network.third.weight is network.second.weight
        assert torch.equal(fit.stack.state(index)["third.weight"], network.second.weight)
