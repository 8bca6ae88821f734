"""The out-of-fold value follows from those of the folds: it is that of all rows together, over seeds their mean."""

import numpy as np
import pytest
from sklearn.metrics import root_mean_squared_error

from psilon_bench.metrics.out_of_fold import FoldValue, is_root, out_of_fold, scale_of

SIZES = (7, 3, 12)


def test_errors_of_folds_that_scale_the_target_differently() -> None:
    """Their root mean square over all rows in raw units, in units of the root mean square of the scales."""
    draw = np.random.default_rng(0)
    raw = [draw.normal(size=size) * 10**k for k, size in enumerate(SIZES)]
    scales = [0.5, 2.0, 7.0]
    folds = [
        FoldValue("one", root_mean_squared_error(np.zeros(len(errors)), errors / scale), len(errors), scale)
        for errors, scale in zip(raw, scales, strict=True)
    ]
    pooled = np.concatenate(raw)
    unit = np.sqrt(np.average(np.square(scales), weights=SIZES))
    assert out_of_fold(folds, squared=True).mean == pytest.approx(np.sqrt(np.mean(pooled**2)) / unit, rel=1e-12)


def test_rmse_is_in_units_of_the_target() -> None:
    """Whatever the scales of the folds, the value is that of all rows together."""
    errors = [np.random.default_rng(k).normal(size=size) * 10**k for k, size in enumerate(SIZES)]
    folds = [
        FoldValue("one", np.sqrt(np.mean(fold**2)), len(fold), scale_of("val/rmse", scale))
        for fold, scale in zip(errors, [0.5, 2.0, 7.0], strict=True)
    ]
    assert is_root("val/rmse", "regression")
    assert out_of_fold(folds, squared=True).mean == pytest.approx(np.sqrt(np.mean(np.concatenate(errors) ** 2)))
    assert scale_of("val/loss", 7.0) == 7


def test_means_over_rows_and_their_error() -> None:
    """Rows weigh the folds of one seed; seeds weigh the same; the error is that of folds x seeds."""
    draw = np.random.default_rng(1)
    losses = {seed: [draw.exponential(size=size + seed) for size in SIZES] for seed in range(2)}
    folds = [FoldValue(seed, fold.mean(), len(fold)) for seed, own in losses.items() for fold in own]
    made = out_of_fold(folds, squared=False)
    assert made.mean == pytest.approx(np.mean([np.concatenate(own).mean() for own in losses.values()]), rel=1e-12)
    assert made.n == 6
    assert made.error == pytest.approx(np.std([fold.value for fold in folds], ddof=1) / np.sqrt(6), rel=1e-12)


def test_only_losses_of_a_regression_are_roots() -> None:
    """Accuracy is a mean over rows, and so is cross-entropy."""
    assert is_root("val/loss", "regression")
    assert not is_root("val/loss", "binary")
    assert not is_root("path_norm", "regression")
