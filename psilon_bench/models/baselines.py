"""What networks are compared with: scikit-learn's ridge, random forest and gradient boosting, fitted as a whole."""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from joblib import parallel_config
from pydantic import Field, PositiveInt
from threadpoolctl import threadpool_limits
from torch import Tensor

from psilon_bench.data.task import Kind, Split
from psilon_bench.models.offers import Bound, HasInputBounds, HasPathNorm, HasTaskKinds, HasWeights

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Trees = Annotated[int, Field(gt=0, le=100_000)]
EPS = np.finfo(np.float64).eps


class Baseline(HasTaskKinds):
    """A scikit-learn estimator with the outputs of a network. Images are flattened, augmentation is for networks.

    It computes in float64 on the CPU, on as many threads as torch has, and sees the training rows alone.
    """

    tuned: ClassVar[dict[str, str]] = {}  # what tells the runs of a study apart, and what it is called in their titles

    def __init__(self, num_features: int, num_outputs: int) -> None:
        self.num_outputs = num_outputs
        self.estimator: Any = None

    @abstractmethod
    def regressor(self, seed: int) -> Any:
        """A fresh one."""

    @abstractmethod
    def classifier(self, seed: int) -> Any:
        """A fresh one."""

    def fit(self, kind: Kind, train: Split, seed: int) -> None:
        """Fit a fresh estimator to the training rows."""
        self.estimator = (self.regressor if kind == "regression" else self.classifier)(seed)
        y = train.y.double() if kind == "regression" else train.y.long()
        with threads(torch.get_num_threads()):
            self.estimator.fit(rows(train.x), y.flatten().numpy())

    def logits(self, kind: Kind, x: Tensor) -> Tensor:
        """Outputs (n, num_outputs) as of a network: predictions of the scaled target, or logits, in float64."""
        with threads(1):  # forests add up their trees in the order in which threads end
            if kind == "regression":
                return torch.from_numpy(self.estimator.predict(rows(x)))[:, None]
            scores = self.scores(rows(x))
        if kind == "binary":
            return torch.from_numpy(scores[:, 1:] - scores[:, :1])
        every = np.full((len(scores), self.num_outputs), np.log(EPS))  # a class without training rows
        every[:, self.estimator.classes_] = scores
        return torch.from_numpy(every)

    def scores(self, x: np.ndarray) -> np.ndarray:
        """Logits (n, known classes): log p, p kept in [eps, 1 - eps] (2.2e-16) as sklearn.metrics.log_loss does."""
        return np.log(np.clip(self.estimator.predict_proba(x), EPS, 1 - EPS))


class Ridge(Baseline, HasWeights, HasPathNorm, HasInputBounds):
    r"""argmin sum_i (y_i - w x_i - b)^2 + alpha ||w||^2; for classes sum_i CE_i + alpha/2 ||W||^2, logistic regression.

    Sums over rows, not means; the intercept is free. Its one layer has the numbers of a network's layer: the path norm
    sum |w| bounds the Lipschitz constant from L_inf inputs to L1 outputs, and is attained for one output.
    """

    tuned: ClassVar = {"alpha": "alpha"}
    bounds: tuple[Bound, ...] = ("improved",)
    lipschitz_activation = 1.0

    def __init__(self, num_features: int, num_outputs: int, alpha: Positive, max_iter: PositiveInt) -> None:
        """max_iter: of L-BFGS, for classes."""
        super().__init__(num_features, num_outputs)
        self.alpha, self.max_iter = alpha, max_iter

    def regressor(self, seed: int) -> Any:
        from sklearn.linear_model import Ridge

        return Ridge(alpha=self.alpha)

    def classifier(self, seed: int) -> Any:
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=1 / self.alpha, max_iter=self.max_iter)

    def scores(self, x: np.ndarray) -> np.ndarray:
        """The logits themselves; those of two classes are 0 and the one there is."""
        scores = self.estimator.decision_function(x)
        return scores if scores.ndim == 2 else np.stack([np.zeros_like(scores), scores], axis=1)

    def weights(self) -> list[Tensor]:
        """Of the one layer, (outputs, features)."""
        return [torch.from_numpy(np.atleast_2d(self.estimator.coef_))]

    def path_norm(self, bound: Bound = "improved") -> Tensor:
        """sum |w|."""
        return self.weights()[0].abs().sum()

    def lipschitz_bound(self) -> Tensor:
        """The path norm."""
        return self.path_norm()

    def input_bounds(self) -> Tensor:
        """Per input, how far the outputs (L1) move at most when it moves by one; they add up to the bound."""
        return self.weights()[0].abs().sum(dim=0)


class RandomForest(Baseline):
    """Breiman 2001; grown until leaves are pure or as small as allowed, probabilities are means over trees."""

    tuned: ClassVar = {"max_features": "features", "min_samples_leaf": "leaf"}

    def __init__(
        self,
        num_features: int,
        num_outputs: int,
        n_estimators: Trees,
        max_features: Literal["sqrt", "log2"] | Fraction,
        min_samples_leaf: PositiveInt,
    ) -> None:
        """scikit-learn's own names."""
        super().__init__(num_features, num_outputs)
        self.arguments = {
            "n_estimators": n_estimators,
            "max_features": max_features,
            "min_samples_leaf": min_samples_leaf,
        }

    def regressor(self, seed: int) -> Any:
        from sklearn.ensemble import RandomForestRegressor

        return RandomForestRegressor(**self.arguments, random_state=seed)

    def classifier(self, seed: int) -> Any:
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(**self.arguments, random_state=seed)


class HistGBDT(Baseline):
    """Gradient boosting on binned features (LightGBM's way): one tree a round, for classes one tree a class.

    early_stopping: end when the loss on a tenth of the TRAINING rows, kept back, has not fallen for 10 rounds.
    """

    tuned: ClassVar = {"learning_rate": "rate", "max_leaf_nodes": "leaves", "early_stopping": "stop"}

    def __init__(
        self,
        num_features: int,
        num_outputs: int,
        learning_rate: Positive,
        max_iter: Trees,
        max_leaf_nodes: Annotated[int, Field(gt=1)],
        min_samples_leaf: PositiveInt,
        l2_regularization: Annotated[float, Field(ge=0, allow_inf_nan=False)],
        early_stopping: bool,
    ) -> None:
        """scikit-learn's own names; max_iter: rounds."""
        super().__init__(num_features, num_outputs)
        self.arguments = {
            "learning_rate": learning_rate,
            "max_iter": max_iter,
            "max_leaf_nodes": max_leaf_nodes,
            "min_samples_leaf": min_samples_leaf,
            "l2_regularization": l2_regularization,
            "early_stopping": early_stopping,
        }

    def regressor(self, seed: int) -> Any:
        from sklearn.ensemble import HistGradientBoostingRegressor

        return HistGradientBoostingRegressor(**self.arguments, random_state=seed)

    def classifier(self, seed: int) -> Any:
        from sklearn.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier(**self.arguments, random_state=seed)


def rows(x: Tensor) -> np.ndarray:
    """(n, features) in float64."""
    return x.flatten(1).double().numpy()


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Within, joblib, OpenMP and BLAS use so many."""
    with parallel_config(n_jobs=number), threadpool_limits(number):
        yield
