"""What a network takes while it trains: copies of its parameters, and what its layers give for the rows of a batch."""

import json
from functools import lru_cache

import torch
from torch import Tensor, nn

from psilon_bench.config.schema import Config, ModelSection
from psilon_bench.data.task import Task
from psilon_bench.machine.device import device_settings
from psilon_bench.machine.memory import check_free
from psilon_bench.training.trainer import EVALUATION_ROWS

COPIES = 8  # of each parameter: itself, gradient, Adam's two, last, best, and room for temporaries


def check_parameters(config: Config, task: Task) -> None:
    """UsageError where the parameters of the network that is to be built have no room."""
    model = config.model.model_dump_json(by_alias=True)
    check_room(config, task, parameters_of(model, task.num_features, task.num_outputs, task.input_shape), 0)


def check_room(config: Config, task: Task, parameters: int, activations: int) -> None:
    """UsageError where a network with so many parameters, and so many activations a row, has no room."""
    sizes = ", ".join(f"model.{key}" for key, value in config.model.arguments.items() if type(value) in (int, list))
    check_free(
        bytes_of(config, task, parameters, activations),
        f"model={config.model.name} has {parameters:,} parameters, and its training",
        f"Take a smaller network ({sizes}) or smaller batches (trainer.num_batches).",
        device_settings(config.hardware).device,
    )


@lru_cache(maxsize=1024)
def parameters_of(model: str, num_features: int, num_outputs: int, input_shape: tuple[int, ...]) -> int:
    """Of a model section (as JSON), built without memory; 0 where that cannot be."""
    section = ModelSection.model_validate(json.loads(model))
    try:
        with torch.device("meta"):
            built = section.build(num_features=num_features, num_outputs=num_outputs, input_shape=input_shape)
        return num_parameters(built) if isinstance(built, nn.Module) else 0
    except Exception:  # a network of yours that cannot be built so; what is wrong with it is told when it is
        return 0


def bytes_of(config: Config, task: Task, parameters: int, activations: int) -> int:
    """An estimate for a network with so many parameters, and so many activations a row."""
    trainer = config.trainer
    batch = trainer.batch_size or -(-len(task.train) // trainer.num_batches)
    rows = 3 * batch + min(EVALUATION_ROWS, len(task.val))
    return device_settings(config.hardware).dtype.itemsize * (COPIES * parameters + rows * activations)


def num_parameters(network: nn.Module) -> int:
    """Of all its layers."""
    return sum(parameter.numel() for parameter in network.parameters())


@torch.no_grad()
def one_row(network: nn.Module, task: Task) -> tuple[Tensor, int]:
    """What the network makes of a row, and how many numbers all its layers make of it."""
    found: list[int] = []

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
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
