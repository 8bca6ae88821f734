"""Losses and scores of the predictions of one network; `torch.func.vmap` adds the members of a stack."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torch.nn import functional as F

from psilon_bench.data.task import Kind
from psilon_bench.metrics.functions import MetricFunction, values

Logits = Float[Tensor, "batch output"]  # of regression predictions of the scaled target, of recovery A x
# of more than two classes integers, or in training a probability of each class; of two the probability of class 1
Targets = Float[Tensor, "batch output"] | Int[Tensor, " batch"]
Shares = Float[Tensor, " batch"]  # of each row in a mean over the rows; they sum to 1


def loss(kind: Kind, logits: Logits, y: Targets, shares: Shares | None = None) -> Float[Tensor, ""]:
    """Return what training minimises: a mean over rows of cross-entropy in nats or, for regression, of SQUARED errors.

    With weights w_i it is sum_i w_i l_i / sum_i w_i, where `shares` are w_i / sum w; in a batch of a part of the rows
    they need not sum to 1: see training.batches. For recovery, which has no weights, it is half the SUM of squared
    errors, 1/2 ||A x - b||_2^2.
    """
    if shares is not None:
        return (shares * row_losses(kind, logits, y)).sum()
    if kind == "recovery":
        return (logits - y).square().sum() / 2
    if kind == "binary":
        return F.binary_cross_entropy_with_logits(logits, y)
    if kind == "multiclass":
        return F.cross_entropy(logits, y)
    return (logits - y).square().mean()  # F.mse_loss, to the bit, fails where vmap is nested and y lacks the inner axis


def row_losses(kind: Kind, logits: Logits, y: Targets) -> Float[Tensor, " batch"]:
    """Return the loss of each row, of which `loss` is a mean: cross-entropy in nats, or the squared error."""
    assert kind != "recovery", "rows of a recovery have no weights"
    if kind == "multiclass":
        return F.cross_entropy(logits, y, reduction="none")
    if kind == "binary":
        return F.binary_cross_entropy_with_logits(logits, y, reduction="none").squeeze(-1)
    return (logits - y).square().mean(dim=-1)


def row_mean(values: Float[Tensor, " batch *one"], shares: Shares | None) -> Float[Tensor, ""]:
    """Return the mean of a value over the rows, weighted where the rows have shares."""
    return values.mean() if shares is None else (shares * values.flatten()).sum()


def reported(kind: Kind, mean_loss: Float[Tensor, "*member"]) -> Float[Tensor, "*member"]:
    """Return what `*/loss` shows: cross-entropy as it is, but for regression the root of the mean squared error."""
    return mean_loss.sqrt() if kind == "regression" else mean_loss


def accuracy(kind: Kind, logits: Logits, y: Targets, shares: Shares | None = None) -> Float[Tensor, ""]:
    """Return the fraction of rows put into the right class; of two classes, a logit of exactly 0 is class 0."""
    right = (logits > 0) == (y > 0.5) if kind == "binary" else logits.argmax(dim=-1) == y
    return row_mean(right.to(logits.dtype), shares)


def class_logits(kind: Kind, logits: Logits) -> Float[Tensor, "batch class"]:
    """Return a logit of each class; of two classes the only one is that of class 1, and class 0 has the logit 0."""
    return torch.cat([torch.zeros_like(logits), logits], dim=1) if kind == "binary" else logits


def probabilities(kind: Kind, logits: Logits) -> Float[Tensor, "batch class"]:
    """Return the probability of each class."""
    return class_logits(kind, logits).softmax(dim=1)


def scores(
    kind: Kind,
    logits: Logits,
    y: Targets,
    functions: Sequence[MetricFunction] = (),
    shares: Shares | None = None,
) -> dict[str, Shaped[Tensor, ""]]:
    """Return `loss`, and for classes `accuracy`, for recovery `error` and `support`, and your own `functions`.

    The loss is cross-entropy in nats, and for regression the root mean squared error in units of the scaled target.
    Both it and the accuracy are weighted where rows have shares; your own functions see no weights.
    """
    result = {"loss": reported(kind, loss(kind, logits, y, shares))} | values(functions, logits, y)
    if kind == "recovery":
        return result | recovery(logits, y)
    if kind != "regression":
        result["accuracy"] = accuracy(kind, logits, y, shares)
    return result


def recovery(x: Float[Tensor, "*shape"], y: Float[Tensor, "*shape"]) -> dict[str, Float[Tensor, ""]]:
    """Return how well a vector x recovers the sparse vector y.

    `error` is ||x - y||_2 / ||y||_2. `support` is the fraction of the entries with y != 0 at which |x| exceeds |x| at
    all entries with y = 0.
    """
    elsewhere = x.abs().masked_fill(y != 0, 0).amax()
    found = (x.abs() > elsewhere) & (y != 0)
    norm = torch.linalg.vector_norm(y).clamp_min(torch.finfo(y.dtype).tiny)
    return {"error": torch.linalg.vector_norm(x - y) / norm, "support": found.sum() / (y != 0).sum()}
