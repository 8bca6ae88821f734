"""P-Net, PSiLON ResNet and networks trained by PathProx, as classifiers and regressors.

The defaults are the values of conf/, which the names of their options stand beside.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from psilon_bench.estimators.network_estimator import NetworkClassifier, NetworkEstimator, NetworkRegressor


@dataclass(kw_only=True, eq=False, repr=False)
class Trained(NetworkEstimator):
    """An estimator with one lambda, the factor of the penalty: objective = loss + lam * penalty."""

    lam: float

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on rows X (rows x columns) with targets y (rows,); a row of weight 2 counts like two equal rows.

        Raises ValueError, in one line, for rows, targets, weights or arguments that are wrong, and where the training
        diverges. Rows of weight 0 are left out. Equal weights are exact where a batch holds all rows
        (num_batches=1); in smaller batches they hold on average: see psilon_bench.training.batches.

        It leaves n_features_in_, feature_names_in_ (of columns with names), classes_ (of a classifier), n_iter_ (the
        epochs), history_ (a dictionary every eval_every epochs), input_bounds_ (columns,): how far decision_function
        or a prediction moves at most when a column moves by one, and their sum lipschitz_bound_.
        """
        self._fit_network(self._table(X, y, sample_weight), self._seed())
        return self


@dataclass(kw_only=True, eq=False, repr=False)
class PNet(NetworkEstimator):
    """What P-Nets have in common: L1 weight normalisation and the 1-path-norm. Biswas 2024, arXiv 2404.19112."""

    options: ClassVar = {"model": "pnet", "reg": "pathnorm", "optimizer": "adam", "scheduler": "onecycle"}
    hidden: int = 500
    depth: int = 3
    lr: float = 2e-3


@dataclass(kw_only=True, eq=False, repr=False)
class PSiLONResNet(NetworkEstimator):
    """What PSiLON residual nets have in common: CReLU blocks and the improved bound. Biswas 2024, arXiv 2404.19112."""

    options: ClassVar = PNet.options | {"model": "psilon_resnet"}
    hidden: int = 500
    depth: int = 10
    lr: float = 2e-3


@dataclass(kw_only=True, eq=False, repr=False)
class PathProx(NetworkEstimator):
    """What networks trained by PathProx have in common: weight decay with exact zeros. Yang et al. 2022."""

    options: ClassVar = {"model": "mlp_factorized", "reg": "pathprox", "optimizer": "sgd", "scheduler": "constant"}
    hidden: int = 400
    depth: int = 3
    lr: float = 0.1


@dataclass(kw_only=True, eq=False, repr=False)
class PNetClassifier(PNet, Trained, NetworkClassifier):
    """A P-Net that tells classes apart, with a certificate: see `fit` for what it keeps, feature_names_in_ and all."""

    lam: float = 1e-3


@dataclass(kw_only=True, eq=False, repr=False)
class PNetRegressor(PNet, Trained, NetworkRegressor):
    """A P-Net that predicts a quantity, with a certificate: see `fit` for what it keeps, feature_names_in_ and all."""

    lam: float = 1e-3


@dataclass(kw_only=True, eq=False, repr=False)
class PSiLONResNetClassifier(PSiLONResNet, Trained, NetworkClassifier):
    """A PSiLON residual net that tells classes apart: see `fit` for what it keeps, feature_names_in_ and all."""

    lam: float = 1e-3


@dataclass(kw_only=True, eq=False, repr=False)
class PSiLONResNetRegressor(PSiLONResNet, Trained, NetworkRegressor):
    """A PSiLON residual net that predicts a quantity: see `fit` for what it keeps, feature_names_in_ and all."""

    lam: float = 1e-3


@dataclass(kw_only=True, eq=False, repr=False)
class PathProxClassifier(PathProx, Trained, NetworkClassifier):
    """A network of few units that tells classes apart: see `fit` for what it keeps, feature_names_in_ and all."""

    lam: float = 1e-4


@dataclass(kw_only=True, eq=False, repr=False)
class PathProxRegressor(PathProx, Trained, NetworkRegressor):
    """A network of few units that predicts a quantity: see `fit` for what it keeps, feature_names_in_ and all."""

    lam: float = 1e-4
