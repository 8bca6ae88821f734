r"""Scores of the classes that one network predicts, most of them scikit-learn's, on rows as a whole.

They are computed once, of the finished network: unlike the loss they need no gradient and no vmap.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from psilon_bench.data.task import Kind
from psilon_bench.metrics.prediction import class_logits

BINS = 15  # of the expected calibration error, as in Guo et al. 2017
Probabilities = Float[np.ndarray, "row class"]
Classes = Int[np.ndarray, " row"]


def classification_scores(kind: Kind, logits: Float[Tensor, "row output"], right: Classes) -> dict[str, float]:
    r"""Return `f1`, `balanced_accuracy`, `brier`, `ece`, and where they are defined `roc_auc`, `average_precision`.

    right: the index of the right class of each row. With TP_k, FP_k, FN_k the rows that are rightly, wrongly and wrongly
    not put into class k:

        f1                 mean over classes k that occur, or are predicted, of 2 TP_k / (2 TP_k + FP_k + FN_k)
        balanced_accuracy  mean over classes k that occur of TP_k / (TP_k + FN_k)
        roc_auc            mean over classes k of P(p_k of a row of k > p_k of another row) + P(equal) / 2
        average_precision  mean over classes k of sum_i (R_i - R_(i-1)) P_i over thresholds on p_k, R recall, P precision

    Of two classes the last two are those of class 1 (f1 is the mean of both, as with more classes). They are left out
    where a class has no row. Rows are ranked by the log odds of p_k, in float32: p_k itself is 1 for all that is sure,
    and rounding, which differs with the order of a sum, would break the ties of a forest.
    """
    from sklearn import config_context, metrics

    logits = class_logits(kind, logits.double())
    likely, predicted = logits.softmax(dim=1).numpy(), logits.argmax(dim=1).numpy()
    occurring: Any = np.unique(right)
    with config_context(assume_finite=True, skip_parameter_validation=True):
        scores = {
            "f1": metrics.f1_score(right, predicted, average="macro", zero_division=0),
            "balanced_accuracy": metrics.recall_score(right, predicted, labels=occurring, average="macro"),
            "brier": brier(likely, right),
            "ece": expected_calibration_error(likely, right),
        }
        if len(occurring) == logits.shape[1]:
            first = 1 if kind == "binary" else 0
            odds = log_odds(logits).float().numpy()[:, first:]
            is_class = right[:, None] == np.arange(logits.shape[1])[first:]
            scores["roc_auc"] = metrics.roc_auc_score(is_class, odds)
            scores["average_precision"] = metrics.average_precision_score(is_class, odds)
    return {name: float(score) for name, score in scores.items()}


def log_odds(logits: Float[Tensor, "row class"]) -> Float[Tensor, "row class"]:
    """Return log p_k / (1 - p_k) of each class k, of two or more; 1 - p_k of the likeliest is the sum of the others."""
    logs = logits.log_softmax(dim=1)
    likeliest = logs.argmax(dim=1, keepdim=True)
    others = logs.scatter(1, likeliest, -torch.inf).logsumexp(dim=1, keepdim=True)
    return logs - torch.log1p(-logs.exp()).scatter(1, likeliest, others)


def brier(likely: Probabilities, right: Classes) -> float:
    """Return the mean over rows of sum_k (p_k - [k is right])^2, which is between 0 and 2 (Brier 1950).

    The sum is over both classes where there are two: twice what scikit-learn's brier_score_loss gives then.
    """
    errors = likely - (right[:, None] == np.arange(likely.shape[1]))
    return float(np.square(errors).sum(axis=1).mean())


def expected_calibration_error(likely: Probabilities, right: Classes) -> float:
    """Return sum_b n_b / n |accuracy_b - confidence_b| over 15 bins ((b-1)/15, b/15] of the largest probability.

    accuracy_b is the fraction of the bin's n_b rows whose most likely class is right, confidence_b the mean of their
    largest probabilities. Guo et al. 2017, On calibration of modern neural networks, equations 2 and 3.
    """
    top, hit = likely.max(axis=1), likely.argmax(axis=1) == right
    bins = np.ceil(top * BINS).astype(int) - 1
    gaps = np.bincount(bins, weights=hit - top, minlength=BINS)
    return float(np.abs(gaps).sum() / len(top))
