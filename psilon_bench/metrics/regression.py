"""Scores of the numbers that one network predicts, scikit-learn's, in units of the target."""

import numpy as np
from jaxtyping import Float

Numbers = Float[np.ndarray, " row"]


def regression_scores(target: Numbers, predicted: Numbers) -> dict[str, float]:
    r"""Return `rmse`, `mae` and, where the targets of these rows differ, `r2`.

    rmse  sqrt(mean (y - p)^2), in the units of y and p
    mae   mean |y - p|, likewise
    r2    1 - sum (y - p)^2 / sum (y - mean y)^2, with the mean of these rows: 0 for who predicts just that
    """
    from sklearn import config_context, metrics

    with config_context(assume_finite=True, skip_parameter_validation=True):
        scores = {
            "rmse": metrics.root_mean_squared_error(target, predicted),
            "mae": metrics.mean_absolute_error(target, predicted),
        }
        if np.ptp(target) > 0:
            scores["r2"] = metrics.r2_score(target, predicted)
    return {name: float(score) for name, score in scores.items()}
