"""A trained network as a list of plain steps, from raw columns to a prediction: what each form of export is made of.

The steps are those of `Preprocessing` and of the networks, and only those inputs are kept that the network reads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from psilon_bench.data.task import Kind
from psilon_bench.errors import UsageError
from psilon_bench.export.columns import Column, Feature, features_of
from psilon_bench.models.crelu_resnet import CReLUResNet
from psilon_bench.models.linear import Linear
from psilon_bench.models.mlp import MLP
from psilon_bench.models.monotone import MonotoneInputs
from psilon_bench.records.networks import SavedNetwork

Before = Literal["identity", "relu", "leaky_relu", "tanh", "gelu", "crelu"]


@dataclass(frozen=True)
class Step:
    """A layer z = W f(h) + b, or z = W f(h) + b + h where it is residual; f is what `before` names.

    weight: float32 (unit, fan_in), bias: float32 (unit,). crelu: relu(h) and, beside it, min(h, 0).
    """

    weight: np.ndarray
    bias: np.ndarray
    before: Before = "identity"
    residual: bool = False


@dataclass(frozen=True)
class Output:
    """From the last layer z to a prediction: center + scale * z, or the softmax of z / temperature.

    Of two classes z is the logit of the second, and that of the first is 0.
    """

    kind: Kind
    target: str
    classes: list[str]  # none for a regression
    center: float
    scale: float
    temperature: float


@dataclass(frozen=True)
class Program:
    """Raw columns -> features -> steps -> output. The columns of the first weight are the features in their order.

    trend: float32 (features, 1), by which the features are multiplied and added to what the last step makes; None where
    the network is not asked to be monotone.
    """

    columns: list[Column]
    features: list[Feature]
    steps: list[Step]
    output: Output
    trend: np.ndarray | None = None

    @property
    def num_inputs(self) -> int:
        """Return how many features the network reads."""
        return len(self.features)


def program_of(saved: SavedNetwork) -> Program:
    """Return the program of a network that was loaded, without the features, and the columns, that it does not read.

    Raises UsageError for networks and for columns that have no such form.
    """
    columns, features = features_of(saved.preprocessing)
    steps = steps_of(saved.network)
    taken = np.arange(len(features)) if saved.inputs is None else saved.inputs.numpy()
    reads = np.flatnonzero(steps[0].weight.any(axis=0))
    reads = reads if len(reads) else np.array([0])
    # in the order in which both forms of export make features: kind by kind
    order = sorted(reads.tolist(), key=lambda place: features[taken[place]].rank)
    first = Step(steps[0].weight[:, order], steps[0].bias)
    read = [features[taken[place]] for place in order]
    kept = sorted({feature.column for feature in read})
    moved = [feature.at(kept.index(feature.column)) for feature in read]
    trend = trend_of(saved.network)
    trend = None if trend is None else trend[order]
    return Program([columns[k] for k in kept], moved, [first, *steps[1:]], output_of(saved), trend)


@torch.no_grad()
def trend_of(network: Any) -> np.ndarray | None:
    """Return the slopes of the linear term, float32 (inputs, 1); None for a network without it."""
    if not isinstance(network, MonotoneInputs) or network.directions is None:
        return None
    return network.trend().float().numpy()[:, None]


def output_of(saved: SavedNetwork) -> Output:
    """Return what becomes of the logits, as SavedNetwork.predict has it."""
    task = saved.task
    target = task.get("target") or {"name": "", "center": 0.0, "scale": 1.0}
    classes = list(task.get("classes", []))
    return Output(task["kind"], target["name"], classes, target["center"], target["scale"], temperature_of(saved))


def temperature_of(saved: SavedNetwork) -> float:
    """Return what logits are divided by before probabilities are taken: 1 where the run fitted no temperature."""
    return 1.0 if saved.calibration.temperature is None else saved.calibration.temperature


def steps_of(network: Any) -> list[Step]:
    """Return the layers of a network; UsageError for one that is neither an MLP nor a CReLU residual network."""
    if isinstance(network, MLP):
        plain: Any = network.plain()
        names: list[Before] = ["identity", *_activations(plain)]
        return [_step(layer, before) for layer, before in zip(plain.layers, names, strict=True)]
    if isinstance(network, CReLUResNet):
        plain = network.plain()
        blocks = [_step(block, "crelu", residual=True) for block in plain.blocks]
        return [_step(plain.first), *blocks, _step(plain.last, "crelu")]
    raise UsageError(
        f"psilon-export knows multilayer perceptrons and CReLU residual networks, but the run trained a "
        f"{type(network).__name__}. Take a run with model=pnet, snet, mlp or psilon_resnet."
    )


def _activations(network: MLP) -> Sequence[Before]:
    """Return the name of what comes behind each layer but the last: the activation, or nothing between two pairs."""
    known: dict[str, Before] = {"relu": "relu", "leaky_relu": "leaky_relu", "tanh": "tanh", "gelu": "gelu"}
    name = known[network.activation_name]
    return [name if activation is network.activation else "identity" for activation in network.activations()]


def _step(layer: Linear, before: Before = "identity", residual: bool = False) -> Step:
    """Return a plain layer as a step."""
    weight, bias = (value.detach().float().numpy() for value in (layer.weight, layer.bias))
    return Step(weight, bias, before, residual)
