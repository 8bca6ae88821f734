"""Scikit-learn estimators: networks of this package as classifiers and regressors, trained by the engine of all runs.

from psilon_bench.estimators import PNetClassifier
PNetClassifier(lam=1e-3).fit(X, y).predict_proba(X)
"""

from psilon_bench.estimators.cross_validated import PNetClassifierCV, PNetRegressorCV
from psilon_bench.estimators.networks import (
    PathProxClassifier,
    PathProxRegressor,
    PNetClassifier,
    PNetRegressor,
    PSiLONResNetClassifier,
    PSiLONResNetRegressor,
)

__all__ = [
    "PNetClassifier",
    "PNetClassifierCV",
    "PNetRegressor",
    "PNetRegressorCV",
    "PSiLONResNetClassifier",
    "PSiLONResNetRegressor",
    "PathProxClassifier",
    "PathProxRegressor",
]
