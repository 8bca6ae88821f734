"""Composed once and set by value, a job is what Hydra would have composed for it alone."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from psilon_bench.config.conf_folder import CONF
from psilon_bench.sweep.composer import Composer

JOBS = [
    ["reg.lam=1e-3", "seed=4", "optimizer.lr=3e-4"],
    ["model=mlp", "model.hidden=7", "reg=l2", "reg.lam=0.5", "model.depth=1"],
    ["model.hidden=7", "model=snet"],
    ["trainer.epochs=7", "scheduler.total_steps=${trainer.num_batches}"],  # it refers to trainer.epochs elsewhere
    ["dataset.split_seed=${seed}", "seed=3"],
    ["dataset.split_seed=5", "seed=3", "trainer.epochs=7"],
    ["seed=3", "dataset.split_seed=null", "optimizer.betas=[0.8,0.9]"],
    ["tracking.experiment='two words, and = more'", "results_dir=/tmp/x y"],
    ['tracking.experiment="1e-3"', "tracking.uri=null"],
    ["tracking.experiment=1e-3"],
    ["tracking.experiment=true", "results_dir='${name}/sub'", "name=n1"],
    ["+model.extra=3", "+trainer.note={a:1,b:[2,3]}", "trainer.epochs=3"],
    ["++model.hidden=5", "++model.new=x"],
    ["~trainer.select", "seed=1"],
    ["~trainer", "seed=1"],
    ["hardware=cpu", "hardware.threads=1", "hardware.precision=float64", "plan=true", "retries=2", "rerun=true"],
    ["seed=1", "seed=2", "model.hidden=3", "model.hidden=4"],
    ["trainer={epochs:3}"],
    ["model.hidden=abc", "reg.lam=1e-400", "results_dir=a\\,b"],  # Hydra lets it pass, the schema does not
]


@pytest.fixture
def hydra() -> Iterator[Callable[[list[str]], DictConfig]]:
    """Hydra's own composition, with its part."""
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        yield lambda job: compose("config", overrides=job, return_hydra_config=True)


@pytest.mark.sampled(every=3)
@pytest.mark.parametrize("job", JOBS, ids=" ".join)
def test_equal_to_hydras_own(hydra: Any, job: Any) -> None:
    """Keys, values, types and interpolations; twice, and after another job with the same groups."""
    composer = Composer(hydra)
    expected = hydra(job)
    OmegaConf.set_struct(expected, False)
    del expected["hydra"]
    composer([*(one for one in job if "." not in one.partition("=")[0] and not one.startswith("~")), "seed=77"])
    for _ in range(2):
        found = composer(job)
        assert OmegaConf.to_yaml(found) == OmegaConf.to_yaml(expected)
        assert types(OmegaConf.to_container(found)) == types(OmegaConf.to_container(expected))
        resolved = [OmegaConf.to_container(cfg.dataset, resolve=True) for cfg in (found, expected)]
        assert resolved[0] == resolved[1]


@pytest.mark.parametrize("job", [["reg.lamb=1"], ["model=nope"], ["seed.x=1"], ["trainer.epochs.x=1"], ["+seed=1"]])
def test_hydras_own_refusals(hydra: Any, job: Any) -> None:
    """The same error as from Hydra."""
    with pytest.raises(HydraException) as ours:
        Composer(hydra)(job)
    with pytest.raises(HydraException) as theirs:
        hydra(job)
    assert str(ours.value) == str(theirs.value)


def test_groups_are_composed_once(hydra: Any) -> None:
    """2 x 30 jobs, 2 compositions."""
    calls = []

    def counted(job: list[str]) -> DictConfig:
        calls.append(job)
        return hydra(job)

    composer = Composer(counted)
    for model in ("pnet", "snet"):
        for seed in range(30):
            composer([f"model={model}", f"seed={seed}", "reg.lam=1e-3"])
    assert calls == [["model=pnet"], ["model=snet"]]


def types(values: Any) -> Any:
    """The same nesting with types as leaves: 1 is not 1.0."""
    if isinstance(values, dict):
        return {key: types(value) for key, value in values.items()}
    return [types(value) for value in values] if isinstance(values, list) else type(values)
