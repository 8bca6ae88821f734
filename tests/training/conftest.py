"""Short trainings in float64."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from psilon_bench.config.conf_folder import CONF
from psilon_bench.config.schema import TrainerSection
from psilon_bench.data.task import Task
from psilon_bench.metrics.network import curve_measures
from psilon_bench.models.mlp import MLP
from psilon_bench.regularizers.regularizer import Regularizer
from psilon_bench.training.stack import Stack
from psilon_bench.training.trainer import Fit, Row

TRAINER = {**OmegaConf.load(CONF / "config.yaml").trainer, "epochs": 6, "num_batches": 5, "eval_every": 1}
ADAM = partial(torch.optim.Adam, lr=0.05, fused=True)


@dataclass
class Trained:
    """A Fit that has run, and the rows of each of its members."""

    fit: Fit
    rows: list[list[Row]]


@pytest.fixture
def settings() -> Callable[..., TrainerSection]:
    """settings(epochs=3): a trainer section."""
    return lambda **changes: TrainerSection.model_validate(TRAINER | changes)


@pytest.fixture
def make(settings: Callable[..., TrainerSection]) -> Callable[..., Fit]:
    """make(models, tasks): a Fit with Adam at a constant rate of 0.05 and no penalty, unless told otherwise."""

    def make(
        models: Sequence[MLP],
        tasks: Sequence[Task],
        regularizer: Any = None,
        lams: Sequence[float] | None = None,
        optimizer: Callable[..., torch.optim.Optimizer] = ADAM,
        factor: Callable[[int], float] = lambda epoch: 1.0,
        **changes: Any,
    ) -> Fit:
        return Fit(
            stack=Stack(models),
            tasks=tasks,
            regularizers=regularizer if isinstance(regularizer, list) else [regularizer or Regularizer()] * len(models),
            lams=lams or [0.0] * len(models),
            seeds=list(range(10, 10 + len(models))),
            settings=settings(**changes),
            optimizer=optimizer,
            scheduler=lambda made: torch.optim.lr_scheduler.LambdaLR(made, factor),
            measures=partial(curve_measures, unit_threshold=1e-3),
        )

    return make


@pytest.fixture
def train(make: Callable[..., Fit]) -> Callable[..., Trained]:
    """train(models, tasks): the Fit of `make`, run to its end."""

    def train(models: Sequence[MLP], *args: Any, **kwargs: Any) -> Trained:
        fit = make(models, *args, **kwargs)
        rows: list[list[Row]] = [[] for _ in models]
        fit.run(lambda member, row: rows[member].append(row))
        return Trained(fit, rows)

    return train
