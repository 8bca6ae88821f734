"""What trains a stack of networks, or fits a baseline, as their configuration says."""

from collections.abc import Sequence
from functools import partial

import torch

from psilon_bench.metrics.network import curve_measures
from psilon_bench.training.baseline import WholeFit
from psilon_bench.training.finetune import FineTuned
from psilon_bench.training.member import Member
from psilon_bench.training.optimizer import build_optimizer, steps_elementwise
from psilon_bench.training.precision import autocast_of
from psilon_bench.training.stack import Stack
from psilon_bench.training.trainer import Fit

AnyFit = Fit | FineTuned | WholeFit


def build(members: Sequence[Member]) -> AnyFit:
    """What trains these networks, or fits this baseline."""
    config = members[0].config
    if config.model.is_baseline:
        (member,) = members
        return WholeFit(member)
    return FineTuned(members, build_fit) if config.trainer.prune_then_finetune else build_fit(members)


def build_fit(members: Sequence[Member]) -> Fit:
    """The trainer of a stack, with the optimizer, schedule and precision of the first member."""
    return fit_under(members, autocast_of(members, fit_under))


def fit_under(members: Sequence[Member], autocast: torch.dtype | None) -> Fit:
    """The trainer of a stack whose steps call its networks under this type."""
    config = members[0].config  # differs from the others in stackable values alone, none of which is read here
    if len(members) > 1 and not steps_elementwise(config, members[0].model):
        raise ValueError(f"optimizer={config.optimizer.name} mixes networks that share a tensor: train them one by one")
    return Fit(
        stack=Stack([member.model for member in members]),
        tasks=[member.task for member in members],
        regularizers=[member.config.reg.build() for member in members],
        lams=[member.config.reg.lam for member in members],
        seeds=[member.config.seed for member in members],
        settings=config.trainer,
        optimizer=partial(build_optimizer, config),
        scheduler=config.scheduler.build,
        autocast=autocast,
        pruner=config.pruner.build(),
        measures=partial(
            curve_measures, unit_threshold=config.metrics.unit_threshold, functions=config.metrics.located
        ),
        functions=config.metrics.located,
    )
