"""What scikit-learn asks of any estimator, with no failure declared as expected."""

from typing import Any

import pytest
from sklearn.base import BaseEstimator
from sklearn.utils.estimator_checks import check_estimator

from psilon_bench import estimators
from psilon_bench.estimators import PNetClassifier

TINY: dict[str, Any] = {
    "hidden": 4,
    "depth": 1,
    "epochs": 10,
    "num_batches": 1,
    "eval_every": 10,
    "lr": 0.3,
    "precision": "float64",
    "device": "cpu",
}
FEW = {"lams": (1e-4, 1e-2), "cv": 2}
SETTINGS: dict[str, dict[str, Any]] = {  # where ten steps of TINY do not learn what a check asks for
    "PSiLONResNetClassifier": {"lr": 0.1, "epochs": 20},
    "PathProxClassifier": {"hidden": 8, "lr": 1.0},
    "PNetClassifierCV": FEW,
    "PNetRegressorCV": FEW,
}
FAST = ("PNetClassifier",)


def tiny(name: str) -> BaseEstimator:
    made: BaseEstimator = getattr(estimators, name)(**(TINY | SETTINGS.get(name, {})))
    return made


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in estimators.__all__]
)
def test_it_is_an_estimator(name: str) -> None:
    """Every check passes; the one of array API, where there is one, must be asked for, and is skipped."""
    results = check_estimator(tiny(name), on_skip=None, on_fail="raise")
    assert {one["check_name"] for one in results if one["status"] != "passed"} <= {"check_array_api_input"}


class Reversed(PNetClassifier):
    """Predicts the rows in the wrong order."""

    def predict(self, X: Any) -> Any:
        return super().predict(X)[::-1]


@pytest.mark.slow
def test_a_check_can_fail() -> None:
    with pytest.raises(AssertionError):
        check_estimator(Reversed(**TINY), on_skip=None, on_fail="raise")
