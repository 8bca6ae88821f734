"""A metric of your own: the Brier score."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot


def brier(logits: Tensor, y: Tensor) -> Tensor:
    """Return the mean over rows of |p - e|^2: p the probabilities of the classes, e 1 for the right one. Brier 1950.

    logits (rows, 1) with y (rows, 1) for two classes, else (rows, classes) with y (rows,).
    """
    if logits.shape[-1] == 1:
        logits, y = torch.cat([torch.zeros_like(logits), logits], dim=-1), y.squeeze(-1).long()
    return (logits.softmax(dim=-1) - one_hot(y, logits.shape[-1])).square().sum(dim=-1).mean()
