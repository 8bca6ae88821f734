"""Basis pursuit: what sparse recovery by descent is compared with."""

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from psilon_bench.data.sparse_recovery import basis_pursuit
from psilon_bench.data.task import Kind, Split
from psilon_bench.models.baselines import Baseline, rows
from psilon_bench.models.offers import HasMeasures, HasWeights


class BasisPursuit(Baseline, HasWeights, HasMeasures):
    r"""argmin ||x||_1 subject to A x = b, by linear programming; for `dataset=sparse_recovery` alone.

    Chen, Donoho & Saunders 1998. Of a noisy b it fits the noise too. UsageError in `fit` where no x has A x = b. What
    is kept is scikit-learn's linear model with these coefficients.
    """

    kinds: ClassVar = ("recovery",)

    def regressor(self, seed: int) -> Any:
        from sklearn.linear_model import LinearRegression

        return LinearRegression(fit_intercept=False)

    classifier = regressor

    def fit(self, kind: Kind, train: Split, seed: int) -> None:
        """Solve the linear program of each output."""
        solutions = [basis_pursuit(rows(train.x), b) for b in train.y.double().T.numpy()]
        self.estimator = self.regressor(seed)
        self.estimator.coef_, self.estimator.intercept_ = np.stack(solutions), 0.0

    def logits(self, kind: Kind, x: Tensor) -> Tensor:
        """A x, (n, outputs)."""
        return torch.from_numpy(self.estimator.predict(rows(x)))

    def weights(self) -> list[Tensor]:
        """x, (outputs, N)."""
        return [torch.from_numpy(self.estimator.coef_)]

    def measures(self) -> dict[str, Tensor]:
        """||x||_1."""
        return {"norm1": self.weights()[0].abs().sum()}
