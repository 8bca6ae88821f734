r"""Scores of the classes that one network predicts, on rows as a whole: scikit-learn's, from ranks and counts.

They are computed once, of the finished network: unlike the loss they need no gradient and no vmap. scikit-learn's own
functions spend 0.1 to 0.3 s on the checks of their inputs, as long as a small network of a stack trains.
"""

from typing import Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from psilon_bench.data.task import Kind
from psilon_bench.metrics.prediction import class_logits

BINS = 15  # of the expected calibration error, as in Guo et al. 2017
Probabilities = Float[np.ndarray, "row class"]
Classes = Int[np.ndarray, " row"]
Scores = Float[np.ndarray, "row class"]
IsClass = Bool[np.ndarray, "row class"]


def classification_scores(kind: Kind, logits: Float[Tensor, "row output"], right: Classes) -> dict[str, float]:
    """Return `f1`, `balanced_accuracy`, `brier`, `ece`, and where each class has a row `roc_auc`, `average_precision`.

    right: the index of the right class of each row. All but brier and ece are means over classes, of two classes too;
    only roc_auc and average_precision of two classes are those of class 1.
    """
    logits = class_logits(kind, logits.double())
    likely, predicted = logits.softmax(dim=1).numpy(), logits.argmax(dim=1).numpy()
    classes = np.arange(logits.shape[1])
    is_right, is_predicted = right[:, None] == classes, predicted[:, None] == classes
    scores = {
        "f1": macro_f1(is_right, is_predicted),
        "balanced_accuracy": balanced_accuracy(is_right, is_predicted),
        "brier": brier(likely, right),
        "ece": expected_calibration_error(likely, right),
    }
    if is_right.any(axis=0).all():
        asked = slice(1, None) if kind == "binary" else slice(None)
        ranked = log_odds(logits).float().numpy()[:, asked]
        scores["roc_auc"] = roc_auc(is_right[:, asked], ranked)
        scores["average_precision"] = average_precision(is_right[:, asked], ranked)
    return scores


def macro_f1(is_right: IsClass, is_predicted: IsClass) -> float:
    """Return the mean over classes of 2 TP / (2 TP + FP + FN), without classes that neither occur nor are predicted."""
    counts = is_right.sum(axis=0) + is_predicted.sum(axis=0)  # 2 TP + FP + FN
    hits = (is_right & is_predicted).sum(axis=0)
    return float(np.mean(2 * hits[counts > 0] / counts[counts > 0]))


def balanced_accuracy(is_right: IsClass, is_predicted: IsClass) -> float:
    """Return the mean over the classes that occur of the fraction of their rows that are put into them."""
    counts = is_right.sum(axis=0)
    hits = (is_right & is_predicted).sum(axis=0)
    return float(np.mean(hits[counts > 0] / counts[counts > 0]))


def roc_auc(is_right: IsClass, scores: Scores) -> float:
    """Return the mean over classes k of P(s_k of a row of k > s_k of another row) + P(they are equal) / 2.

    It is the statistic of Mann and Whitney, from the ranks of the rows of k. Every class has rows, and none has all.
    """
    rows, others = is_right.sum(axis=0), (~is_right).sum(axis=0)
    sums = np.where(is_right, ranks(scores, "average"), 0).sum(axis=0)
    return float(np.mean((sums - rows * (rows + 1) / 2) / (rows * others)))


def average_precision(is_right: IsClass, scores: Scores) -> float:
    """Return the mean over classes k of the sum over thresholds t of (recall_t - recall_(t-1)) precision_t.

    It is the mean over the rows i of k of the precision among the rows j with s_jk >= s_ik, which is the place of i
    among the rows of k over its place among all. Every class has rows.
    """
    among_all = ranks(-scores, "max")
    among_its = ranks(np.where(is_right, -scores, np.inf), "max")
    precisions = np.where(is_right, among_its / among_all, 0)
    return float(np.mean(precisions.sum(axis=0) / is_right.sum(axis=0)))


def ranks(scores: Scores, ties: Literal["average", "max"]) -> Scores:
    """Return the rank of each row in its column, the smallest 1; of equal ones the mean or the largest of theirs.

    scipy.stats has the same, and takes a second to import.
    """
    return pd.DataFrame(scores).rank(method=ties).to_numpy()


def log_odds(logits: Float[Tensor, "row class"]) -> Float[Tensor, "row class"]:
    """Return log p_k / (1 - p_k) of each class k, of two or more; 1 - p_k of the likeliest is the sum of the others.

    It ranks rows as p_k does, and tells those apart whose p_k is 1 after rounding. Who ranks rows by it takes float32:
    rounding, which differs with the order of a sum, would break the ties of a forest.
    """
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
    top, is_hit = likely.max(axis=1), likely.argmax(axis=1) == right
    bins = np.ceil(top * BINS).astype(int) - 1
    gaps = np.bincount(bins, weights=is_hit - top, minlength=BINS)
    return float(np.abs(gaps).sum() / len(top))
