"""Baselines that networks are compared with: scikit-learn's ridge, random forest and gradient boosting.

They are fitted as a whole, without steps of an optimizer.
"""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from joblib import parallel_config
from pydantic import Field, PositiveInt
from threadpoolctl import threadpool_limits
from torch import Tensor

from psilon_bench.data.task import Kind, Split
from psilon_bench.models.offers import Bound, HasInputBounds, HasPathNorm, HasSlopes, HasTaskKinds, HasWeights
from psilon_bench.models.slopes import SlopeLayer

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Trees = Annotated[int, Field(gt=0, le=100_000)]
EPS = np.finfo(np.float64).eps


class Baseline(HasTaskKinds):
    """A scikit-learn estimator, or one like them, that makes the outputs of a network.

    It computes on the CPU, in float64 unless it says otherwise, on as many threads as torch has, and sees the training
    rows alone. Images are flattened and not augmented.
    """

    tuned: ClassVar[dict[str, str]] = {}  # arguments that tell the runs of a study apart, with their words in titles
    packages: ClassVar[dict[str, str]] = {}  # that it needs of the extra `peers`, and the modules they are imported by
    precision: ClassVar[str] = "float64"
    seed_bits: ClassVar[int] = 32  # seeds are below 2^seed_bits
    keeps_estimator: ClassVar[bool] = True  # in the record, by skops

    def __init__(self, num_features: int, num_outputs: int) -> None:
        self.num_outputs = num_outputs
        self.estimator: Any = None

    def notes(self) -> list[str]:
        """Return what a run says of the model beside its data."""
        lost = f"the fitted {type(self).__name__} is not kept, for skops cannot write it; its predictions are"
        return [] if self.keeps_estimator else [lost]

    @abstractmethod
    def regressor(self, seed: int) -> Any:
        """Return a scikit-learn regressor that is not fitted yet."""

    @abstractmethod
    def classifier(self, seed: int) -> Any:
        """Return a scikit-learn classifier that is not fitted yet."""

    def fit(self, kind: Kind, train: Split, seed: int) -> None:
        """Fit a new estimator to the training rows and their weights; `self.estimator` holds it from then on."""
        self.estimator = self.unfitted(kind, seed)
        y = train.y.double() if kind == "regression" else train.y.long()
        weights = {} if train.weights is None else {"sample_weight": train.weights.numpy()}
        with threads(torch.get_num_threads()):
            self.estimator.fit(rows(train.x), y.flatten().numpy(), **weights)

    def unfitted(self, kind: Kind, seed: int) -> Any:
        """Return the scikit-learn estimator for a kind of task, not fitted yet."""
        return (self.regressor if kind == "regression" else self.classifier)(seed)

    def logits(self, kind: Kind, x: Float[Tensor, " batch *input"]) -> Float[Tensor, "batch output"]:
        """Return outputs like those of a network, in float64: predictions of the scaled target, or logits."""
        with threads(1):  # forests add up their trees in the order in which threads end
            if kind == "regression":
                return torch.from_numpy(self.estimator.predict(rows(x)))[:, None].double()
            scores = self.scores(rows(x))
        if kind == "binary":
            return torch.from_numpy(scores[:, 1:] - scores[:, :1])
        every = np.full((len(scores), self.num_outputs), np.log(EPS))  # a class without training rows
        every[:, self.known_classes()] = scores
        return torch.from_numpy(every)

    def known_classes(self) -> Int[np.ndarray, " class"]:
        """Return the classes that the training rows have, in the order of `scores`."""
        return self.estimator.classes_

    def scores(self, x: Float[np.ndarray, "batch input"]) -> Float[np.ndarray, "batch class"]:
        """Return a logit for each class that the training rows have: log p.

        As in `sklearn.metrics.log_loss`, p is kept in [eps, 1 - eps], where eps is 2.2e-16.
        """
        p = self.estimator.predict_proba(x).astype(np.float64)
        return np.log(np.clip(p, EPS, 1 - EPS))


class Ridge(Baseline, HasWeights, HasPathNorm, HasInputBounds, HasSlopes):
    r"""Ridge regression, argmin sum_i (y_i - w x_i - b)^2 + alpha ||w||^2, and for classes logistic regression.

    The latter minimises sum_i CE_i + alpha/2 ||W||^2. Both are sums over rows, not means, and leave the intercept free.
    It is a network of one layer: its path norm sum |w| bounds the Lipschitz constant from L_inf inputs to L1 outputs,
    and is attained for one output.
    """

    tuned: ClassVar = {"alpha": "alpha"}
    bounds: tuple[Bound, ...] = ("improved",)
    lipschitz_activation = 1.0
    piecewise_linear = True

    def __init__(self, num_features: int, num_outputs: int, alpha: Positive, max_iter: PositiveInt) -> None:
        """`max_iter` bounds the iterations of L-BFGS, which fits classes."""
        super().__init__(num_features, num_outputs)
        self.alpha, self.max_iter = alpha, max_iter

    def regressor(self, seed: int) -> Any:
        from sklearn.linear_model import Ridge

        return Ridge(alpha=self.alpha)

    def classifier(self, seed: int) -> Any:
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=1 / self.alpha, max_iter=self.max_iter)

    def scores(self, x: Float[np.ndarray, "batch input"]) -> Float[np.ndarray, "batch class"]:
        """Return the logits themselves; of two classes, the first has the logit 0."""
        scores = self.estimator.decision_function(x)
        return scores if scores.ndim == 2 else np.stack([np.zeros_like(scores), scores], axis=1)

    def weights(self) -> list[Float[Tensor, "output input"]]:
        """Return the weights of the only layer."""
        return [torch.from_numpy(np.atleast_2d(self.estimator.coef_))]

    def path_norm(self, bound: Bound = "improved") -> Float[Tensor, ""]:
        """Return sum |w|, whatever the bound."""
        return self.weights()[0].abs().sum()

    def lipschitz_bound(self) -> Float[Tensor, ""]:
        """Return B with |f(x) - f(y)|_1 <= B |x - y|_inf, which is the path norm."""
        return self.path_norm()

    def input_bounds(self) -> Float[Tensor, " input"]:
        """Return how far the outputs move at most (L1) when one input moves by 1; the sum is `lipschitz_bound`."""
        return self.weights()[0].abs().sum(dim=0)

    def slope_layers(self) -> list[SlopeLayer]:
        """Return the only layer; a class without training rows has no weights and the logit of `logits`."""
        from sklearn.base import is_classifier

        (weight,), bias = self.weights(), torch.from_numpy(np.atleast_1d(self.estimator.intercept_))
        if is_classifier(self.estimator) and self.num_outputs > 1:
            known = self.estimator.classes_
            if len(known) == 2:
                weight, bias = (torch.cat([torch.zeros_like(value), value]) for value in (weight, bias))
            weight = weight.new_zeros(self.num_outputs, weight.shape[1]).index_copy(0, torch.as_tensor(known), weight)
            bias = bias.new_full((self.num_outputs,), np.log(EPS)).index_copy(0, torch.as_tensor(known), bias)
        return [SlopeLayer(weight, weight, bias, weight.abs(), weight.shape[1] + 2)]


class RandomForest(Baseline):
    """A random forest (Breiman 2001), grown until leaves are pure or as small as allowed.

    Its probabilities are means over the trees.
    """

    tuned: ClassVar = {"max_features": "features", "min_samples_leaf": "leaf"}

    def __init__(
        self,
        num_features: int,
        num_outputs: int,
        n_estimators: Trees,
        max_features: Literal["sqrt", "log2"] | Fraction,
        min_samples_leaf: PositiveInt,
    ) -> None:
        """The arguments have the names and meanings that scikit-learn gives them."""
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
    """Gradient boosting on binned features, as LightGBM does it: a tree in each round, or one for each class.

    With `early_stopping` it ends when the loss on a tenth of the TRAINING rows, which it keeps back, has not fallen for
    10 rounds.
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
        """The arguments have the names and meanings that scikit-learn gives them; `max_iter` counts rounds."""
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


def rows(x: Float[Tensor, " batch *input"]) -> Float[np.ndarray, "batch flat_input"]:
    """Return the inputs, flattened, in float64."""
    return x.flatten(1).double().numpy()


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Let joblib, OpenMP and BLAS use this number of threads within the context."""
    with parallel_config(n_jobs=number), threadpool_limits(number):
        yield
