"""Short trainings in float64."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from psilon_bench.config.conf_folder import CONF
from psilon_bench.config.schema import MetricsSection
from psilon_bench.config.sections import TrainerSection
from psilon_bench.data.task import Task
from psilon_bench.models.mlp import MLP
from psilon_bench.pruning.pruner import Pruner
from psilon_bench.regularizers.regularizer import Regularizer
from psilon_bench.training.engine import Row
from psilon_bench.training.recipe import Recipe
from psilon_bench.training.stack import Stack
from psilon_bench.training.trainer import Trainer

TRAINER = {**OmegaConf.load(CONF / "config.yaml").trainer, "epochs": 6, "num_batches": 5, "eval_every": 1}
METRICS = MetricsSection(
    radii=[],
    certificate="pairwise",
    exact_seconds=60.0,
    attack_steps=0,
    lipschitz_points=1,
    unit_threshold=1e-3,
    functions=[],
    calibrate="none",
    coverage=None,
)
ADAM = partial(torch.optim.Adam, lr=0.05, fused=True)


@dataclass
class Trained:
    """A Trainer that has run, and the rows of each of its members."""

    fit: Trainer
    rows: list[list[Row]]


@pytest.fixture
def settings() -> Callable[..., TrainerSection]:
    """settings(epochs=3): a trainer section."""
    return lambda **changes: TrainerSection.model_validate(TRAINER | changes)


@pytest.fixture
def make(settings: Callable[..., TrainerSection]) -> Callable[..., Trainer]:
    """make(models, tasks): a Trainer with Adam at a constant rate of 0.05 and no penalty, unless told otherwise."""

    def make(
        models: Sequence[MLP],
        tasks: Sequence[Task],
        regularizer: Any = None,
        lams: Sequence[float] | None = None,
        optimizer: Callable[..., torch.optim.Optimizer] = ADAM,
        factor: Callable[[int], float] = lambda epoch: 1.0,
        **changes: Any,
    ) -> Trainer:
        own = settings(**changes)
        recipe = Recipe(
            models=models,
            stack=Stack(models),
            tasks=tasks,
            regularizers=regularizer if isinstance(regularizer, list) else [regularizer or Regularizer()] * len(models),
            lams=lams or [0.0] * len(models),
            seeds=list(range(10, 10 + len(models))),
            settings=own,
            metrics=METRICS,
            epochs=own.epochs,
            optimizer=lambda parameters, lr: optimizer(parameters),
            lr=0.0,
            scheduler=lambda made: torch.optim.lr_scheduler.LambdaLR(made, factor),
            autocast=None,
            pruner=Pruner(),
            num_parameters=[0] * len(models),
        )
        return Trainer(recipe)

    return make


@pytest.fixture
def train(make: Callable[..., Trainer]) -> Callable[..., Trained]:
    """train(models, tasks): the Trainer of `make`, run to its end."""

    def train(models: Sequence[MLP], *args: Any, **kwargs: Any) -> Trained:
        fit = make(models, *args, **kwargs)
        rows: list[list[Row]] = [[] for _ in models]
        fit.run(lambda member, row: rows[member].append(row))
        return Trained(fit, rows)

    return train
