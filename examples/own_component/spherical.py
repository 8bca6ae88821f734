"""A metric of your own: the spherical loss."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot


def spherical_loss(logits: Tensor, y: Tensor) -> Tensor:
    """Return the mean over rows of 1 - p_y / |p|_2: p the probabilities of the classes, y the right one.

    Gneiting & Raftery 2007, Strictly proper scoring rules, section 3.
    logits (rows, 1) with y (rows, 1) for two classes, else (rows, classes) with y (rows,).
    """
    if logits.shape[-1] == 1:
        logits, y = torch.cat([torch.zeros_like(logits), logits], dim=-1), y.squeeze(-1).long()
    p = logits.softmax(dim=-1)
    return 1 - ((p * one_hot(y, p.shape[-1])).sum(dim=-1) / p.norm(dim=-1)).mean()
