"""Basis pursuit, with which sparse recovery by gradient descent is compared."""

from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from psilon_bench.data.sparse_recovery import basis_pursuit
from psilon_bench.data.task import Kind, Split
from psilon_bench.models.baselines import Baseline, rows
from psilon_bench.models.offers import HasMeasures, HasWeights


class BasisPursuit(Baseline, HasWeights, HasMeasures):
    r"""The vector argmin ||x||_1 subject to A x = b, by linear programming (Chen, Donoho & Saunders 1998).

    It is for `dataset=sparse_recovery` alone, and fits the noise of a noisy b too. `fit` raises a UsageError where no x
    has A x = b. What is kept is scikit-learn's linear model with these coefficients.
    """

    kinds: ClassVar = ("recovery",)

    @override
    def regressor(self, seed: int) -> Any:
        """Return a linear model without an intercept, which is to hold x as its coefficients."""
        from sklearn.linear_model import LinearRegression

        return LinearRegression(fit_intercept=False)

    classifier = regressor

    @override
    def fit(self, kind: Kind, train: Split, seed: int) -> None:
        """Solve the linear program of each output, for A in the inputs of the training rows and b in their targets."""
        solutions = [basis_pursuit(rows(train.x), b) for b in train.y.double().T.numpy()]
        self.estimator = self.regressor(seed)
        self.estimator.coef_, self.estimator.intercept_ = np.stack(solutions), 0.0

    @override
    def logits(self, kind: Kind, x: Float[Tensor, " batch *input"]) -> Float[Tensor, "batch output"]:
        """Return A x for rows of A."""
        return torch.from_numpy(self.estimator.predict(rows(x)))

    def weights(self) -> list[Float[Tensor, "output input"]]:
        """Return the vectors x."""
        return [torch.from_numpy(self.estimator.coef_)]

    def measures(self) -> dict[str, Float[Tensor, ""]]:
        """Return ||x||_1 as `norm1`."""
        return {"norm1": self.weights()[0].abs().sum()}
