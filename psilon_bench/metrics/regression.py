"""Scores of the numbers that one network predicts, equal to scikit-learn's, whose import takes seconds."""

import numpy as np
from jaxtyping import Float

Numbers = Float[np.ndarray, " row"]


def regression_scores(target: Numbers, predicted: Numbers) -> dict[str, float]:
    r"""Return `rmse`, `mae` and, where the targets of these rows differ, `r2`.

    rmse  sqrt(mean (y - p)^2), in the units of y and p
    mae   mean |y - p|, likewise
    r2    1 - sum (y - p)^2 / sum (y - mean y)^2, with the mean of these rows: 0 for who predicts just that
    """
    errors = target - predicted
    scores = {"rmse": np.sqrt(np.square(errors).mean()), "mae": np.abs(errors).mean()}
    if np.ptp(target) > 0:
        scores["r2"] = 1 - np.square(errors).sum() / np.square(target - target.mean()).sum()
    return {name: float(score) for name, score in scores.items()}
