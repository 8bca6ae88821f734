"""The optimizer and its schedule on a few numbers, before a run: what torch finds wrong only while it goes on."""

import inspect
import itertools
import json
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache, partial

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from psilon_bench.config.conf_folder import option_files
from psilon_bench.config.schema import ComponentSection, OptimizerSection
from psilon_bench.errors import UsageError, in_one_line, short
from psilon_bench.machine.torch_internals import lean
from psilon_bench.training.optimizer import needs_closure

MOST_STEPS = 100_000  # of a schedule that are taken one by one, in 0.2 s; of the rest of a longer one so many, spread

TRIAL_LR = 1e-3
TRIAL_STEPS = 10


@lru_cache(maxsize=1024)
def problem(
    optimizer_json: str,
    scheduler_json: str,
    dims: tuple[int, ...],
    steps: int,
    unit: str,
    device: torch.device,
    dtype: torch.dtype,
) -> str | None:
    """Return what is wrong with these sections (as JSON) in so many steps of the schedule, in a line; None if nothing.

    dims: how many dimensions the parameters have. unit: what a step of the schedule is, an epoch or a step of the
    optimizer. Some steps of the optimizer must be finite and go down, and every learning rate be above 0 and finite.
    """
    first = OptimizerSection.model_validate(json.loads(optimizer_json))
    then = ComponentSection.model_validate(json.loads(scheduler_json))
    section: ComponentSection = first
    to_change = keys("optimizer", first)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check_closure(lean(partial(first.build, lr=TRIAL_LR), parameters_of(dims, device, dtype)))
            check_step(lean(partial(first.build, lr=TRIAL_LR), parameters_of(dims, device, dtype)))
            optimizer = lean(partial(first.build, lr=first.lr), parameters_of(dims, device, dtype))
            section, to_change = then, keys("scheduler", then)
            check_rates(optimizer, then.build(optimizer), steps, unit)
    except UsageError as error:
        return f"{section.name} {error}. Change {to_change}."
    except Exception as error:  # whatever torch, or a class of yours, may raise
        reason = in_one_line(error).rstrip(".") or type(error).__name__
        return f"{section.name} refuses its values: {short(reason)}. Change {to_change}."
    return None


def parameters_of(dims: Sequence[int], device: torch.device, dtype: torch.dtype) -> list[Tensor]:
    """Return a parameter of zeros for each number of dimensions, two entries long in each."""
    return [nn.Parameter(torch.zeros([2] * dim, device=device, dtype=dtype)) for dim in dims]


def check_closure(optimizer: Optimizer) -> None:
    """Raise UsageError, as a clause, for an optimizer that cannot be given a gradient."""
    if needs_closure(optimizer):
        raise UsageError(
            f"({type(optimizer).__name__}) evaluates the objective itself, several times a step, and training does so "
            f"once; take optimizer={', '.join(option_files('optimizer'))}"
        )


def keys(section: str, component: ComponentSection) -> str:
    """Return the keys of a section that may be to blame, in words."""
    return ", ".join(f"{section}.{key}" for key in component.arguments) or f"{section}._target_"


@torch.no_grad()
def check_step(optimizer: Optimizer) -> None:
    """Raise UsageError, as a clause, where steps are not finite, go up a slope, or do not fade where it ends."""
    parameters: Sequence[Tensor] = [one for group in optimizer.param_groups for one in group["params"]]
    moves = [move(optimizer, parameters, slope) for slope in [1.0] * TRIAL_STEPS + [0.0] * TRIAL_STEPS]
    if not all(parameter.isfinite().all() for parameter in parameters):
        raise UsageError("makes steps that are not finite, of gradients of 0 or 1")
    if min(moves[:TRIAL_STEPS]) < 0:
        raise UsageError("goes up where it should go down")
    if abs(moves[-1]) >= max(moves[:TRIAL_STEPS]):
        raise UsageError("makes steps that do not fade where there is no gradient any more")


def move(optimizer: Optimizer, parameters: Sequence[Tensor], slope: float) -> float:
    """Return how far a step goes down, where the last entry of each parameter has this gradient and the others none."""
    last = parameters[-1].view(-1)
    before = last[-1].item()
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
        parameter.grad.view(-1)[-1] = slope
    optimizer.step()
    return before - last[-1].item()


def check_rates(optimizer: Optimizer, schedule: LRScheduler, steps: int, unit: str) -> None:
    """Raise UsageError, as a clause, where a learning rate of the schedule is not above 0 and finite."""
    for step, rate in rates(optimizer, schedule, steps):
        if not (math.isfinite(rate) and rate > 0):
            where = f"in {unit} {step + 1} of {steps}"
            raise UsageError(f"gives a learning rate of {rate:g} {where}; each should be above 0 and finite")


def rates(optimizer: Optimizer, schedule: LRScheduler, steps: int) -> Iterator[tuple[int, float]]:
    """Yield (step from 0, learning rate) of the first MOST_STEPS; of more steps, of as many others and of the last."""
    rest: Iterable[int] = range(MOST_STEPS, steps, max(1, (steps - MOST_STEPS) // MOST_STEPS))
    if "epoch" not in inspect.signature(schedule.step).parameters:
        rest = ()
    yield 0, float(optimizer.param_groups[0]["lr"])
    for step in itertools.chain(range(1, min(steps, MOST_STEPS)), rest, [steps - 1] if rest else []):
        schedule.step() if step < MOST_STEPS else schedule.step(step)
        yield step, float(optimizer.param_groups[0]["lr"])
