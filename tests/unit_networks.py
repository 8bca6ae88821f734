"""Small networks with pairs of layers, in float64, with random biases and units of very different sizes."""

import torch
from torch import Tensor, nn

from psilon_bench.models.factorized_mlp import FactorizedMLP
from psilon_bench.models.mlp import MLP
from psilon_bench.models.vgg import VGG

KINDS = ("mlp", "leaky", "odd", "factorized", "vgg", "vgg_odd")


def unit_network(kind: str) -> tuple[MLP | VGG, Tensor]:
    """The network and seven inputs for it. Pairs of vgg have pooling in between; of vgg_odd between them as well."""
    if kind.startswith("vgg"):
        model: MLP | VGG = VGG(3, (2, 8, 9), {"vgg": [[3], [4, 5], [4]], "vgg_odd": [[3, 2], [4, 3, 5]]}[kind])
        x = torch.randn(7, 2, 8, 9).double()
    else:
        depth = {"mlp": 3, "leaky": 5, "odd": 4, "factorized": 3}[kind]
        if kind == "factorized":
            model = FactorizedMLP(6, 3, 5, depth, "relu", "kaiming")
        else:
            model = MLP(6, 3, 5, depth, None, False, "leaky_relu" if kind == "leaky" else "relu", "kaiming")
        x = torch.randn(7, 6).double()
    model.double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0.3)
            else:
                rows, columns = torch.rand(parameter.shape[0]).double(), torch.rand(parameter.shape[1]).double()
                parameter.mul_(4 * torch.einsum("i,j->ij", rows, columns)[(...,) + (None,) * (parameter.dim() - 2)])
    return model, x


def without_biases(model: nn.Module, pattern: int) -> None:
    """Remove the bias of layer i where bit i of the pattern is set."""
    layers = [layer for layer in model.modules() if isinstance(getattr(layer, "bias", None), Tensor)]
    for i, layer in enumerate(layers):
        if pattern >> i & 1:
            layer.register_parameter("bias", None)
