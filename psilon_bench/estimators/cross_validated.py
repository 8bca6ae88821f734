"""P-Nets that choose lambda by cross-validation, as LassoCV does: all lambdas on all folds train as one stack."""

import copy
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from sklearn.model_selection import check_cv

from psilon_bench.data.split import RowNumbers
from psilon_bench.data.task import Task
from psilon_bench.errors import UsageError, shown
from psilon_bench.estimators.network_estimator import (
    NetworkClassifier,
    NetworkEstimator,
    NetworkRegressor,
    named_as_arguments,
    trained,
)
from psilon_bench.estimators.networks import PNet
from psilon_bench.estimators.table import Table
from psilon_bench.training.batches import per_epoch
from psilon_bench.training.member import Member


@dataclass(kw_only=True, eq=False, repr=False)
class CrossValidated(NetworkEstimator):
    """An estimator that chooses among `lams` by `cv`: a number of folds, or a splitter of scikit-learn's."""

    lams: Sequence[float] = (5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 1e-1, 2.5e-1, 5e-1)
    cv: Any = 5

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Choose lambda by the mean validation loss over the folds, then train on all rows with it.

        Each network is the one that a fit on the training rows of its fold alone would give (in float64 to rounding).
        The loss is cross-entropy in nats, or the mean squared error in squared units of y; with weights it is a
        weighted mean within a fold. Of equal losses the larger lambda is taken, and a lambda with which a network
        diverges has the loss inf. Early stopping looks at the validation rows of a fold, whose loss is then too good.

        Beside what a fit with one lambda leaves: lam_, lams_ (lambdas,) from small to large, cv_losses_
        (lambdas, folds), their mean cv_mean_ and standard error cv_se_ over folds (lambdas,). ValueError as there, and
        where lams are no lambdas or all of them diverge.
        """
        seed, table = self._seed(), self._table(X, y, sample_weight)
        self.lams_ = np.sort(lambdas(self.lams))
        folds = check_cv(self.cv, table.target, classifier=not self._regression).split(X, table.target)
        parts = [(table.counted(np.asarray(train)), table.counted(np.asarray(val))) for train, val in folds]
        if not all(len(rows) for part in parts for rows in part):
            raise UsageError(f"cv={self.cv} makes a fold whose rows all have weight 0. Ask for fewer folds.")
        self.cv_losses_ = np.full((len(self.lams_), len(parts)), np.inf)
        with named_as_arguments():
            for stack in stackable_members(self._members(table, parts, seed)):
                self._keep_losses(stack)
        self.cv_mean_ = self.cv_losses_.mean(axis=1)
        finite = np.where(np.isfinite(self.cv_losses_), self.cv_losses_, np.nan)
        self.cv_se_ = finite.std(axis=1, ddof=1) / np.sqrt(len(parts))
        if not np.isfinite(self.cv_mean_).any():
            raise UsageError(f"{type(self).__name__} diverged in some fold with each of lams. Lower lr.")
        self.lam_ = float(self.lams_[np.flatnonzero(self.cv_mean_ == self.cv_mean_.min())[-1]])
        self._fit_network(table, seed, lam=self.lam_)
        return self

    def _members(
        self, table: Table, parts: Sequence[tuple[RowNumbers, RowNumbers]], seed: int
    ) -> Iterator[tuple[tuple[int, int], Member]]:
        """Yield a fresh network for each lambda on each fold, with the numbers of both."""
        from psilon_bench.run.checks import member_of  # as in network_estimator

        configs = [self._config(seed, lam=float(lam)) for lam in self.lams_]
        for fold, (train, val) in enumerate(parts):
            task = self._weighted(table.task(train, val))
            first = member_of(configs[0], task)
            for number, config in enumerate(configs):
                yield (number, fold), replace(first, config=config, model=copy.deepcopy(first.model))

    def _keep_losses(self, stack: Sequence[tuple[tuple[int, int], Member]]) -> None:
        """Train a stack, and keep the validation losses of its networks."""
        trainer, _ = trained([member for _, member in stack])
        scores = trainer.evaluation.validation("val")
        for (place, member), progress, score in zip(stack, trainer.members, scores, strict=True):
            if progress.status != "failed":
                self.cv_losses_[place] = loss_in_units(member.task, score["val/loss"])


@dataclass(kw_only=True, eq=False, repr=False)
class PNetClassifierCV(PNet, CrossValidated, NetworkClassifier):
    """A P-Net that tells classes apart, with lambda chosen by cross-validation: see `fit` (feature_names_in_ ...)."""


@dataclass(kw_only=True, eq=False, repr=False)
class PNetRegressorCV(PNet, CrossValidated, NetworkRegressor):
    """A P-Net that predicts a quantity, with lambda chosen by cross-validation: see `fit` (feature_names_in_ ...)."""


def lambdas(lams: Any) -> np.ndarray:
    """Return the lambdas to choose from, float64 (lambdas,); UsageError unless all are finite and at least 0."""
    try:
        values = np.asarray(lams, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.ndim != 1 or not len(values) or not (np.isfinite(values) & (values >= 0)).all():
        raise UsageError(
            f"lams must be a sequence of finite numbers of at least 0, one or more, but is {shown(lams)}. "
            "Set lams=(1e-3, 1e-2), say."
        )
    return values


def stackable_members(
    members: Iterator[tuple[tuple[int, int], Member]],
) -> list[list[tuple[tuple[int, int], Member]]]:
    """Return the members in stacks of networks of one shape: a level or a missing value may be in some folds alone."""
    groups: dict[Hashable, list[tuple[tuple[int, int], Member]]] = {}
    for place, member in members:
        trainer, task = member.config.trainer, member.task
        shape = task.input_shape, per_epoch(len(task.train), trainer.num_batches, trainer.batch_size)
        groups.setdefault(shape, []).append((place, member))
    return list(groups.values())


def loss_in_units(task: Task, loss: float) -> float:
    """Return the loss of classes as it is, and that of a regression as mean squared error in squared units of y."""
    return (loss * task.target_scale) ** 2 if task.kind == "regression" else loss
