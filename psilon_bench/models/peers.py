"""Peers that networks are compared with, of the extra `peers`: boosting, an additive model, and other networks.

CatBoost, LightGBM, XGBoost and EBM are sums of trees; RealMLP and TabM are networks for tables, which pytabkit trains.
They are fitted as a whole, as baselines are, and a library is imported only where a run asks for it.
"""

import pkgutil
from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Num
from pydantic import Field, PositiveInt
from typing_extensions import override

from psilon_bench.data.task import Kind, Split
from psilon_bench.models.baselines import Baseline, Positive, Trees, rows

NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Depth = Annotated[int, Field(gt=0, le=16)]  # 16 is the most that CatBoost takes
Leaves = Annotated[int, Field(gt=1)]
HELD_OUT = 10  # one row in so many is held out for early stopping


@dataclass(frozen=True)
class PeerRows:
    """Rows as the libraries take them: inputs, targets or codes of classes, and weights, if any."""

    x: Float[np.ndarray, "row input"]
    y: Num[np.ndarray, " row"]
    weights: Float[np.ndarray, " row"] | None

    def chosen(self, mask: Bool[np.ndarray, " row"]) -> "PeerRows":
        """Return the rows of the mask."""
        return PeerRows(self.x[mask], self.y[mask], None if self.weights is None else self.weights[mask])


class Peer(Baseline):
    """An estimator of another library, which makes the outputs of a network.

    It is fitted to the inputs that networks have: scaled numbers, and categories as one-hot columns or as codes
    (`dataset.encoding`). All these libraries have their own ways with raw categories, and may do better on those.
    Where one stops by validation rows, these are a tenth of the TRAINING rows, as HistGBDT has it; the validation rows
    of the task stay unseen. Rows of weight 0 are left out.
    """

    estimators: ClassVar[tuple[str, str]]  # regressor and classifier, each as module:class
    seed_bits = 31

    @abstractmethod
    def settings(self, seed: int) -> dict[str, Any]:
        """Return the arguments of an estimator, the number of threads among them."""

    @override
    def regressor(self, seed: int) -> Any:
        return pkgutil.resolve_name(self.estimators[0])(**self.settings(seed))

    @override
    def classifier(self, seed: int) -> Any:
        return pkgutil.resolve_name(self.estimators[1])(**self.settings(seed))

    @property
    def holds_out(self) -> bool:
        """Return whether a tenth of the training rows is held out."""
        return True

    @abstractmethod
    def fit_rows(self, fitted: PeerRows, held: PeerRows | None) -> None:
        """Fit `self.estimator` to rows, and stop by those held out, if any."""

    @override
    def fit(self, kind: Kind, train: Split, seed: int) -> None:
        """Fit a new estimator; its classes are 0, 1, ... for those that the training rows have, in order."""
        weights = None if train.weights is None else train.weights.numpy()
        given = PeerRows(rows(train.x), train.y.double().flatten().numpy(), weights)
        given = given if weights is None else given.chosen(weights > 0)
        if kind != "regression":
            self.classes, codes = np.unique(given.y.astype(np.int64), return_inverse=True)
            given = PeerRows(given.x, codes, given.weights)
        held = held_out(given.y, kind, seed) if self.holds_out else np.zeros(len(given.y), bool)
        self.estimator = self.unfitted(kind, seed)
        self.fit_rows(given.chosen(~held), given.chosen(held) if held.any() else None)

    @override
    def known_classes(self) -> np.ndarray:
        return self.classes


def held_out(y: Num[np.ndarray, " row"], kind: Kind, seed: int) -> Bool[np.ndarray, " row"]:
    """Return which rows are held out: every tenth of the shuffled rows, which for classes are sorted by class then.

    Each class is held out in proportion, to within one row, and none whole.
    """
    order = np.random.default_rng(seed).permutation(len(y))
    if kind != "regression":
        order = order[np.argsort(y[order], kind="stable")]
    held = np.zeros(len(y), bool)
    held[order[HELD_OUT - 1 :: HELD_OUT]] = True
    return held if kind == "regression" else held & np.isin(y, y[~held])


class Boosting(Peer):
    """Boosted trees, `early_stopping_rounds` of which without a lower loss on the held-out rows end the fit.

    Predictions are then those of the best round. Without that number there are all rounds, on all training rows.
    """

    def __init__(
        self, num_features: int, num_outputs: int, early_stopping_rounds: int | None, **arguments: Any
    ) -> None:
        """`arguments` are those of the library's estimator."""
        super().__init__(num_features, num_outputs)
        self.early_stopping_rounds, self.arguments = early_stopping_rounds, arguments

    @property
    @override
    def holds_out(self) -> bool:
        return self.early_stopping_rounds is not None


class CatBoost(Boosting):
    """Boosting with symmetric trees (Prokhorenkova et al. 2018); its thresholds are of float32 inputs."""

    packages: ClassVar = {"catboost": "catboost"}
    estimators = ("catboost:CatBoostRegressor", "catboost:CatBoostClassifier")
    tuned: ClassVar = {"learning_rate": "rate", "depth": "depth"}

    def __init__(
        self,
        num_features: int,
        num_outputs: int,
        iterations: Trees,
        learning_rate: Positive | None,
        depth: Depth,
        l2_leaf_reg: NotNegative,
        early_stopping_rounds: PositiveInt | None,
    ) -> None:
        """The arguments have CatBoost's names and meanings; without a `learning_rate` it guesses one from the rows."""
        super().__init__(
            num_features,
            num_outputs,
            early_stopping_rounds,
            iterations=iterations,
            learning_rate=learning_rate,
            depth=depth,
            l2_leaf_reg=l2_leaf_reg,
        )

    @override
    def settings(self, seed: int) -> dict[str, Any]:
        """Return the arguments of an estimator that prints and writes nothing."""
        quiet = {"logging_level": "Silent", "allow_writing_files": False}
        return self.arguments | quiet | {"random_seed": seed, "thread_count": torch.get_num_threads()}

    @override
    def fit_rows(self, fitted: PeerRows, held: PeerRows | None) -> None:
        from catboost import Pool

        stops = {}
        if held is not None:
            pool = Pool(held.x, held.y, weight=held.weights)
            stops = {"eval_set": pool, "early_stopping_rounds": self.early_stopping_rounds}
        self.estimator.fit(fitted.x, fitted.y, sample_weight=fitted.weights, **stops)


class LightGBM(Boosting):
    """Boosting with trees that grow leaf by leaf on binned inputs (Ke et al. 2017)."""

    packages: ClassVar = {"lightgbm": "lightgbm"}
    estimators = ("lightgbm:LGBMRegressor", "lightgbm:LGBMClassifier")
    tuned: ClassVar = {"learning_rate": "rate", "num_leaves": "leaves"}

    def __init__(
        self,
        num_features: int,
        num_outputs: int,
        n_estimators: Trees,
        learning_rate: Positive,
        num_leaves: Leaves,
        min_child_samples: PositiveInt,
        reg_lambda: NotNegative,
        early_stopping_rounds: PositiveInt | None,
    ) -> None:
        """The arguments have LightGBM's names and meanings; `min_child_samples` counts rows, whatever their weights."""
        super().__init__(
            num_features,
            num_outputs,
            early_stopping_rounds,
            n_estimators=n_estimators,
            learning_rate=learning_rate,
            num_leaves=num_leaves,
            min_child_samples=min_child_samples,
            reg_lambda=reg_lambda,
        )

    @override
    def settings(self, seed: int) -> dict[str, Any]:
        """Return the arguments of a quiet estimator whose sums do not depend on the number of threads."""
        same = {"deterministic": True, "force_row_wise": True, "verbosity": -1}
        return self.arguments | same | {"random_state": seed, "n_jobs": torch.get_num_threads()}

    @override
    def fit_rows(self, fitted: PeerRows, held: PeerRows | None) -> None:
        from lightgbm import early_stopping

        stops: dict[str, Any] = {}
        if held is not None:
            callbacks = [early_stopping(self.early_stopping_rounds, verbose=False)]
            stops = {"eval_X": held.x, "eval_y": held.y, "eval_sample_weight": [held.weights], "callbacks": callbacks}
        self.estimator.fit(fitted.x, fitted.y, sample_weight=fitted.weights, **stops)


class XGBoost(Boosting):
    """Boosting with a second-order objective (Chen & Guestrin 2016), on binned inputs in float32."""

    packages: ClassVar = {"xgboost": "xgboost"}
    estimators = ("xgboost:XGBRegressor", "xgboost:XGBClassifier")
    precision = "float32"
    tuned: ClassVar = {"learning_rate": "rate", "max_depth": "depth"}

    def __init__(
        self,
        num_features: int,
        num_outputs: int,
        n_estimators: Trees,
        learning_rate: Positive,
        max_depth: Depth,
        min_child_weight: NotNegative,
        reg_lambda: NotNegative,
        early_stopping_rounds: PositiveInt | None,
    ) -> None:
        """The arguments have XGBoost's names and meanings."""
        super().__init__(
            num_features,
            num_outputs,
            early_stopping_rounds,
            n_estimators=n_estimators,
            learning_rate=learning_rate,
            max_depth=max_depth,
            min_child_weight=min_child_weight,
            reg_lambda=reg_lambda,
        )

    @override
    def settings(self, seed: int) -> dict[str, Any]:
        return self.arguments | {"random_state": seed, "n_jobs": torch.get_num_threads()}

    @override
    def fit_rows(self, fitted: PeerRows, held: PeerRows | None) -> None:
        stops: dict[str, Any] = {}
        if held is not None:
            self.estimator.set_params(early_stopping_rounds=self.early_stopping_rounds)
            stops = {"eval_set": [(held.x, held.y)]}
            if held.weights is not None:
                stops["sample_weight_eval_set"] = [held.weights]
        self.estimator.fit(fitted.x, fitted.y, sample_weight=fitted.weights, verbose=False, **stops)
