"""Losses and scores of predictions, one network at a time; they vmap over members."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from psilon_bench.data.task import Kind
from psilon_bench.metrics.functions import Function, values


def loss(kind: Kind, logits: Tensor, y: Tensor) -> Tensor:
    """What training minimises: a mean over rows of cross-entropy in nats or, for regression, of the SQUARED error.

    For recovery half the SUM of squared errors, 1/2 ||A x - b||^2.
    """
    if kind == "recovery":
        return (logits - y).square().sum() / 2
    if kind == "binary":
        return F.binary_cross_entropy_with_logits(logits, y)
    return F.cross_entropy(logits, y) if kind == "multiclass" else F.mse_loss(logits, y)


def reported(kind: Kind, mean_loss: Tensor) -> Tensor:
    """What `*/loss` shows: cross-entropy as it is, for regression the root of the mean squared error."""
    return mean_loss.sqrt() if kind == "regression" else mean_loss


def accuracy(kind: Kind, logits: Tensor, y: Tensor) -> Tensor:
    """Fraction of rows put into the right class; a logit of exactly 0 counts as class 0."""
    if kind == "binary":
        return ((logits > 0) == (y > 0.5)).to(logits.dtype).mean()
    return (logits.argmax(dim=-1) == y).to(logits.dtype).mean()


def scores(kind: Kind, logits: Tensor, y: Tensor, functions: Sequence[Function] = ()) -> dict[str, Tensor]:
    """`loss`, and `accuracy` for classes, `error` and `support` for recovery, and the metrics of your own.

    `loss` of regression is in units of the scaled target.
    """
    result = {"loss": reported(kind, loss(kind, logits, y))} | values(functions, logits, y)
    if kind == "recovery":
        return result | recovery(logits, y)
    if kind != "regression":
        result["accuracy"] = accuracy(kind, logits, y)
    return result


def recovery(x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """error: ||x - y|| / ||y||. support: the fraction of entries with y != 0 where |x| exceeds all |x| with y = 0."""
    elsewhere = x.abs().masked_fill(y != 0, 0).amax()
    found = (x.abs() > elsewhere) & (y != 0)
    norm = torch.linalg.vector_norm(y).clamp_min(torch.finfo(y.dtype).tiny)
    return {"error": torch.linalg.vector_norm(x - y) / norm, "support": found.sum() / (y != 0).sum()}
