"""What an optimizer can do, by trial."""

import functools
import inspect
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from psilon_bench.config.schema import Config, OptimizerSection
from psilon_bench.machine.device import device_settings
from psilon_bench.machine.torch_internals import lean

Make = Callable[[list[Tensor]], torch.optim.Optimizer]

SCALES = torch.logspace(-4, 4, 8, dtype=torch.float64)  # of the gradients in the steps of a trial


def needs_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether the optimizer evaluates the objective itself, as LBFGS does."""
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    return closure is not None and closure.default is closure.empty


def is_elementwise(make: Make, dims: Sequence[int], device: torch.device) -> bool:
    """Return whether entries of parameters with so many dimensions move by their own gradients alone, by trial.

    Then the parameters of several networks can share a tensor. Two networks take some steps, each alone and both
    together, with gradients of unlike sizes, the last of one of them NaN: what reduces over a tensor (Adafactor), clips
    by a norm, skips steps that are not finite, draws random numbers or minds the number of dimensions shows.
    """
    dtype = torch.float32 if device.type == "mps" else torch.float64
    own = torch.Generator().manual_seed(0)
    shapes = [(2, len(SCALES), *range(3, 3 + dim)) for dim in dims]
    draws = [torch.randn(shape, generator=own, dtype=torch.float64).to(device, dtype) for shape in shapes]
    starts = [draw[:, 0] * draw.new_tensor([1.0, 100.0]).view(2, *[1] * (draw.dim() - 2)) for draw in draws]
    gradients = [[member_gradients(draw, step) for draw in draws] for step in range(len(SCALES))]
    try:
        together = moved(make, starts, gradients)
        for member in range(2):
            mine = [[gradient[member] for gradient in every] for every in gradients]
            alone = moved(make, [start[member] for start in starts], mine)
            if not all(agree(both[member], one) for both, one in zip(together, alone, strict=True)):
                return False
    except Exception:  # whatever an optimizer has against one dimension more
        return False
    return True


def member_gradients(draw: Tensor, step: int) -> Tensor:
    """Return gradients (2, ...): the first member's grow from step to step, the second's shrink and end with NaN."""
    scales = SCALES.to(draw.device, draw.dtype)
    last = step == len(SCALES) - 1
    return torch.stack([draw[0, step] * scales[step], draw[1, step] * (torch.nan if last else scales[-1 - step])])


@torch.no_grad()
def moved(make: Make, starts: Sequence[Tensor], gradients: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Return where the parameters are after these steps."""
    parameters: list[Tensor] = [nn.Parameter(start.clone()) for start in starts]
    optimizer = lean(make, parameters)
    with torch.random.fork_rng([start.device for start in starts[:1] if start.device.type == "cuda"]):
        for every in gradients:
            for parameter, gradient in zip(parameters, every, strict=True):
                parameter.grad = gradient.clone()
            optimizer.step()
    return parameters


def agree(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors are equal to rounding."""
    scale = other.nan_to_num().abs().max().item()
    return torch.allclose(one, other, rtol=0, atol=scale * torch.finfo(one.dtype).eps ** 0.75, equal_nan=True)


def dims_of(model: nn.Module) -> tuple[int, ...]:
    """Return the numbers of dimensions that the parameters to be trained have."""
    return tuple(sorted({parameter.dim() for parameter in model.parameters() if parameter.requires_grad}))


def steps_elementwise(config: Config, model: nn.Module) -> bool:
    """Return whether networks that share the optimizer's tensors do not mix; found by trial, once a process."""
    device = device_settings(config.hardware).device
    return elementwise(config.optimizer.model_dump_json(by_alias=True), dims_of(model), device)


@functools.lru_cache(maxsize=256)
def elementwise(optimizer: str, dims: tuple[int, ...], device: torch.device) -> bool:
    """Return is_elementwise of an optimizer section (as JSON)."""
    section = OptimizerSection.model_validate_json(optimizer)
    return is_elementwise(section.make, dims, device)
