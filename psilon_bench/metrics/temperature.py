"""Temperature scaling: probabilities softmax(z / T) that are no surer than the network is right.

Guo et al. 2017, On calibration of modern neural networks, equation 9.
"""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from psilon_bench.data.task import Kind
from psilon_bench.metrics.certificate import margin
from psilon_bench.metrics.prediction import Targets, loss, probabilities

HIGHEST = 1e3  # temperatures that are tried lie between this and its inverse
SMALLEST = float(np.finfo(np.float64).eps)  # probability, as in the losses of baselines


def fit_temperature(kind: Kind, logits: Float[Tensor, "row output"], y: Targets) -> float:
    """Return the T > 0 with the smallest cross-entropy of logits / T, never one with more than T = 1 has.

    In 1 / T the cross-entropy is convex, so that a search along log T cannot miss its minimum. Where every row is right
    there is none, for the loss falls as T goes to 0: the temperature stays 1. logits and y: float64 on the CPU, y of
    more than two classes int64.
    """
    if (margin(kind, logits, y) >= 0).all():
        return 1.0
    from scipy.optimize import minimize_scalar

    def cross_entropy(log_temperature: float) -> float:
        return loss(kind, logits / math.exp(log_temperature), y).item()

    bounds = (-math.log(HIGHEST), math.log(HIGHEST))
    found = minimize_scalar(cross_entropy, bounds=bounds, method="bounded", options={"xatol": 1e-9})
    return math.exp(found.x) if found.fun < cross_entropy(0.0) else 1.0


def logs_of(likely: Float[np.ndarray, "row class"]) -> Float[Tensor, "row class"]:
    """Return logits whose softmax are these probabilities, which are kept above 2.2e-16: their logarithms."""
    return torch.from_numpy(np.log(np.clip(likely, SMALLEST, 1)))


def tempered(likely: Float[np.ndarray, "row class"], temperature: float) -> Float[np.ndarray, "row class"]:
    """Return the probabilities p^(1 / T) / sum p^(1 / T): those of the logits log p, divided by the temperature T."""
    return probabilities("multiclass", logs_of(likely) / temperature).numpy()
