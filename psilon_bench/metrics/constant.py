"""The constant prediction: the best that can be said of a row without looking at its inputs."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from psilon_bench.data.task import Task

EPS = np.finfo(np.float64).eps


def constant_outputs(task: Task, rows: int) -> Float[Tensor, "row output"]:
    """Return the same outputs for so many rows, float64: the mean target of the training rows, or logits of classes.

    The latter's probabilities are the frequencies of the classes among the training rows, kept in [eps, 1 - eps] with
    eps = 2.2e-16 as those of baselines are. Of two classes the only logit is that of class 1.
    """
    y = task.train.y
    if task.kind == "regression":
        return y.double().mean(dim=0).expand(rows, 1)
    counts = torch.bincount(y.flatten().long(), minlength=len(task.classes)).double()
    logits = (counts / len(y)).clamp(EPS, 1 - EPS).log()
    return (logits[1:] - logits[:1] if task.kind == "binary" else logits).expand(rows, -1)
