"""Regularizers of a person's own, whose penalties see inputs that fill up a network."""

import torch
from torch import Tensor
from user_networks import Plain

from psilon_bench.regularizers.regularizer import Regularizer


class MeanSquare(Regularizer):
    """The mean square of the first weights, which depends on how many they are."""

    def penalty(self, model: Plain, **own: Tensor) -> Tensor:
        return model.first.weight.square().mean()


class Rising(Regularizer):
    """The sum of the sizes of the first weights, with the slope 1 where they are 0."""

    def penalty(self, model: Plain, **own: Tensor) -> Tensor:
        weight = model.first.weight
        return torch.where(weight >= 0, weight, -weight).sum()
