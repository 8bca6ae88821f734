"""Greedy ensemble selection with replacement (Caruana, Niculescu-Mizil, Crew & Ksikes 2004, ICML).

It begins with nothing and adds MOST_PICKS times the candidate with which the mean of all picks has the lowest loss on
the validation rows, the same one again where that is best; of equal losses the first candidate. The ensemble are the
picks up to the lowest loss of all, the fewest of equal ones. The first pick is the best candidate, so that the loss is
never above its loss.
"""

from collections.abc import Callable

import numpy as np

from psilon_bench.metrics.temperature import SMALLEST

MOST_PICKS = 50
ROUNDING = 1e-12  # relative, of equal losses: a network's mean with itself may be the better one by a bit

Loss = Callable[[np.ndarray], np.ndarray]  # of predictions (..., rows) the loss (...)


def cross_entropy(likely: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the mean cross-entropy in nats (...) of the probabilities (..., rows) of the right classes.

    Probabilities are kept above 2.2e-16. weights: (rows,) of a weighted mean; None: all rows count alike.
    """
    return np.asarray(-np.average(np.log(np.clip(likely, SMALLEST, 1)), axis=-1, weights=weights))


def root_mean_square(errors: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the root of the mean square (...) of errors (..., rows); weights: as of `cross_entropy`."""
    return np.asarray(np.sqrt(np.average(np.square(errors), axis=-1, weights=weights)))


def greedy_picks(predictions: np.ndarray, loss: Loss) -> list[int]:
    """Return the candidates that make the ensemble, in the order of the picks, as often as each was picked.

    predictions: (candidates, rows), of which ensembles take means: of classes the probability of the right class, of a
    regression the prediction minus the target.
    """
    total = np.zeros(predictions.shape[1])
    picks: list[int] = []
    losses: list[float] = []
    for number in range(1, MOST_PICKS + 1):
        values = loss((total + predictions) / number)
        picks.append(int(values.argmin()))
        losses.append(float(values.min()))
        total += predictions[picks[-1]]
    is_lowest = np.array(losses) <= min(losses) * (1 + ROUNDING)
    return picks[: int(is_lowest.argmax()) + 1]


def weights_of(picks: list[int], candidates: int) -> np.ndarray:
    """Return the weight (candidates,) of each candidate in the mean of all picks; they sum to 1."""
    return np.bincount(picks, minlength=candidates) / len(picks)
