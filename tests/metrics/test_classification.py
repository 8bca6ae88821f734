"""Scores of classes against scikit-learn's and against loops; what is not defined is left out without a warning."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics

from psilon_bench.metrics.classification import classification_scores, expected_calibration_error, log_odds
from psilon_bench.metrics.prediction import class_logits

ALWAYS = {"f1", "balanced_accuracy", "brier", "ece"}


def drawn(classes: int, rows: int, seed: int, ties: bool = False) -> tuple[str, torch.Tensor, np.ndarray]:
    """Logits that know something of classes of uneven frequency; ties: of few values, as those of a forest."""
    draw = np.random.default_rng(seed)
    right = draw.choice(classes, size=rows, p=np.arange(1, classes + 1) / (classes * (classes + 1) / 2))
    logits = 2 * draw.normal(size=(rows, classes))
    logits[np.arange(rows), right] += 1
    made = torch.from_numpy(np.round(logits) if ties else logits)
    return ("binary", made[:, 1:] - made[:, :1], right) if classes == 2 else ("multiclass", made, right)


def slow_ece(likely: np.ndarray, right: np.ndarray) -> float:
    """Bin by bin, as Guo et al. write it."""
    top, hit = likely.max(axis=1), likely.argmax(axis=1) == right
    total = 0.0
    for b in range(1, 16):
        inside = (top > (b - 1) / 15) & (top <= b / 15)
        if inside.any():
            total += inside.sum() / len(top) * abs(hit[inside].mean() - top[inside].mean())
    return total


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_scores_are_scikit_learns(classes: int, ties: bool) -> None:
    """Macro over classes one against rest; of two classes the areas are those of class 1."""
    kind, logits, right = drawn(classes, 83, seed=classes, ties=ties)
    found: Any = classification_scores(kind, logits, right)  # type: ignore[arg-type]
    z = class_logits(kind, logits)  # type: ignore[arg-type]
    likely, predicted = z.softmax(dim=1).numpy(), z.argmax(dim=1).numpy()
    columns = slice(1, None) if classes == 2 else slice(None)
    one_hot, p = np.eye(classes)[right][:, columns], likely.round(12)[:, columns]  # equal but for rounding
    assert found == {
        "f1": pytest.approx(metrics.f1_score(right, predicted, average="macro")),
        "balanced_accuracy": pytest.approx(metrics.balanced_accuracy_score(right, predicted)),
        "brier": pytest.approx(np.mean([((likely[i] - np.eye(classes)[k]) ** 2).sum() for i, k in enumerate(right)])),
        "ece": pytest.approx(slow_ece(likely, right)),
        "roc_auc": pytest.approx(metrics.roc_auc_score(one_hot, p, average="macro")),
        "average_precision": pytest.approx(metrics.average_precision_score(one_hot, p, average="macro")),
    }


def test_the_brier_score_of_two_classes_is_twice_scikit_learns() -> None:
    """It sums over both."""
    _, logits, right = drawn(2, 40, seed=1)
    half = metrics.brier_score_loss(right, logits.sigmoid().numpy().ravel())
    assert classification_scores("binary", logits, right)["brier"] == pytest.approx(2 * half)


def test_classes_without_rows() -> None:
    """Areas are left out; f1 counts a class that is predicted alone as 0; recalls are of classes that occur."""
    right = np.array([0, 0, 2, 2, 2])
    logits = 9 * torch.eye(3).double()[[0, 1, 2, 2, 2]]
    found = classification_scores("multiclass", logits, right)
    assert found.keys() == ALWAYS
    assert found["f1"] == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert found["balanced_accuracy"] == pytest.approx((1 / 2 + 1) / 2)
    only = classification_scores("binary", torch.full((4, 1), -1.0), np.zeros(4, int))
    assert only.keys() == ALWAYS
    assert (only["f1"], only["balanced_accuracy"]) == (1, 1)


def test_what_is_sure_keeps_its_order() -> None:
    """p is 1 after rounding for both rows of class 1 and the wrong one; their logits still tell them apart."""
    logits = torch.tensor([[50.0], [60.0], [40.0]], dtype=torch.float64)
    right = np.array([1, 1, 0])
    assert classification_scores("binary", logits, right)["roc_auc"] == 1
    z = torch.randn(20, 4, dtype=torch.float64)
    p = z.softmax(dim=1)
    torch.testing.assert_close(log_odds(z), torch.log(p / (1 - p)))


def test_calibration_errors_by_hand() -> None:
    """Sure and right 0; sure and half right 1/2; a probability on an edge belongs to the bin below it."""
    sure = np.array([[1.0, 0.0]] * 4)
    assert expected_calibration_error(sure, np.zeros(4, int)) == 0
    assert expected_calibration_error(sure, np.array([0, 1, 0, 1])) == 0.5
    edge = np.array([[0.6, 0.4], [0.65, 0.35]])  # 0.6 = 9/15 closes a bin, 0.65 lies in the next
    assert expected_calibration_error(edge, np.array([0, 1])) == pytest.approx((0.4 + 0.65) / 2)
