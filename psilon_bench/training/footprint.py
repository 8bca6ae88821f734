"""The memory that a network takes while it trains: copies of its parameters, and activations of a batch's rows."""

import json
from functools import lru_cache

import torch
from torch import Tensor, nn

from psilon_bench.config.schema import Config, ModelSection
from psilon_bench.data.task import Task
from psilon_bench.machine.device import device_settings
from psilon_bench.machine.memory import check_free
from psilon_bench.metrics.network import num_parameters
from psilon_bench.training.evaluation import ROWS_AT_ONCE

COPIES = 8  # of each parameter: itself, gradient, Adam's two, last, best, and room for temporaries


def check_parameters(config: Config, task: Task) -> None:
    """Raise UsageError where the parameters of the network that is to be built have no room."""
    model = config.model.model_dump_json(by_alias=True)
    check_room(config, task, count_parameters(model, task.num_features, task.num_outputs, task.input_shape), 0)


def check_room(config: Config, task: Task, parameters: int, activations: int) -> None:
    """Raise UsageError where a network with so many parameters, and so many activations a row, has no room."""
    sizes = ", ".join(f"model.{key}" for key, value in config.model.arguments.items() if type(value) in (int, list))
    check_free(
        bytes_of(config, task, parameters, activations),
        f"model={config.model.name} has {parameters:,} parameters, and its training",
        f"Take a smaller network ({sizes}) or smaller batches (trainer.num_batches).",
        device_settings(config.hardware).device,
    )


@lru_cache(maxsize=1024)
def count_parameters(model: str, num_features: int, num_outputs: int, input_shape: tuple[int, ...]) -> int:
    """Return how many parameters a model section (as JSON) has, built without memory; 0 where that cannot be."""
    section = ModelSection.model_validate(json.loads(model))
    try:
        with torch.device("meta"):
            built = section.build(num_features=num_features, num_outputs=num_outputs, input_shape=input_shape)
        return num_parameters(built) if isinstance(built, nn.Module) else 0
    except Exception:  # a network of yours that cannot be built so; what is wrong with it is told when it is
        return 0


def bytes_of(config: Config, task: Task, parameters: int, activations: int) -> int:
    """Return an estimate of the bytes of a network with so many parameters, and so many activations a row."""
    trainer = config.trainer
    batch = trainer.batch_size or -(-len(task.train) // trainer.num_batches)
    rows = 3 * batch + min(ROWS_AT_ONCE, len(task.val))
    return device_settings(config.hardware).dtype.itemsize * (COPIES * parameters + rows * activations)


@torch.no_grad()
def one_row(network: nn.Module, task: Task) -> tuple[Tensor, int]:
    """Return what the network makes of one row, and how many numbers all its layers make of it."""
    found: list[int] = []

    def count(_module: nn.Module, _inputs: tuple[Tensor, ...], output: object) -> None:
        found.append(output.numel() if isinstance(output, Tensor) else 0)

    leaves = [module for module in network.modules() if not list(module.children())]
    handles = [module.register_forward_hook(count) for module in leaves]
    parameter = next(network.parameters())
    try:
        outputs = network.eval()(task.train.x[:1].to(parameter.device, parameter.dtype))
    finally:
        for handle in handles:
            handle.remove()
    return outputs, sum(found)
