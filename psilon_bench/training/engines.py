"""What trains a stack of networks, or fits a baseline, as their configuration says."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn

from psilon_bench.metrics.network import num_parameters
from psilon_bench.training.baseline import BaselineFit
from psilon_bench.training.engine import Engine
from psilon_bench.training.finetune import FineTuning
from psilon_bench.training.member import Member
from psilon_bench.training.optimizer import steps_elementwise
from psilon_bench.training.precision import autocast_of
from psilon_bench.training.race import Race, RacedTraining
from psilon_bench.training.recipe import Recipe
from psilon_bench.training.stack import Stack
from psilon_bench.training.trainer import Trainer


def build_engine(members: Sequence[Member], race: Race | None = None) -> Engine:
    """Return what trains these networks, as one stack or as a race, or fits this baseline."""
    config = members[0].config
    if race is not None:
        return build_race(members, race)
    if config.model.is_baseline:
        (member,) = members
        return BaselineFit(member)
    return build_stack(members, autocast_of(members, build_under))


def build_race(members: Sequence[Member], race: Race) -> RacedTraining:
    """Return what trains these networks as a race, all with the precision that suits the largest heat."""
    largest = max(race.places(), key=len)
    autocast = autocast_of([members[place] for place in largest], build_under)
    return RacedTraining(members, race, partial(build_stack, autocast=autocast))


def build_stack(members: Sequence[Member], autocast: torch.dtype | None) -> FineTuning | Trainer:
    """Return what trains these networks as one stack, with the fine-tuning that they ask for."""
    recipe = recipe_of(members, autocast)
    return FineTuning(recipe) if recipe.settings.prune_then_finetune else Trainer(recipe)


def build_trainer(members: Sequence[Member]) -> Trainer:
    """Return the trainer of a stack, without fine-tuning."""
    return build_under(members, autocast_of(members, build_under))


def build_under(members: Sequence[Member], autocast: torch.dtype | None) -> Trainer:
    """Return the trainer of a stack whose steps call its networks in this type."""
    return Trainer(recipe_of(members, autocast))


def trained_form(member: Member) -> nn.Module:
    """Return the network that is trained in the place of the member's, as its regularizer says."""
    network: nn.Module = member.config.reg.build().trained_form(member.model, member.task.input_columns)
    return network


def recipe_of(members: Sequence[Member], autocast: torch.dtype | None) -> Recipe:
    """Return what the configurations say; ValueError where the optimizer mixes networks that share a tensor."""
    config = members[0].config  # differs from the others in stackable values alone, none of which is read here
    if len(members) > 1 and not steps_elementwise(config, members[0].model):
        raise ValueError(f"optimizer={config.optimizer.name} mixes networks that share a tensor: train them one by one")
    return Recipe(
        stack=Stack([trained_form(member) for member in members]),
        models=[member.model for member in members],
        tasks=[member.task for member in members],
        regularizers=[member.config.reg.build() for member in members],
        lams=[member.config.reg.lam for member in members],
        seeds=[member.config.seed for member in members],
        settings=config.trainer,
        metrics=config.metrics,
        epochs=config.trainer.epochs,
        optimizer=config.optimizer.make,
        lr=config.optimizer.lr,
        scheduler=config.scheduler.build,
        autocast=autocast,
        pruner=config.pruner.build(),
        num_parameters=[num_parameters(member.model) for member in members],
    )
