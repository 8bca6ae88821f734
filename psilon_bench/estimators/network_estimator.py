"""The common part of all estimators: from arguments to a configuration, to the engine, to a network that predicts."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from psilon_bench.config.schema import Config
from psilon_bench.data import overflow
from psilon_bench.data.preprocessing import Preprocessing
from psilon_bench.data.split import RowNumbers, resolve_sizes, split_rows
from psilon_bench.data.tabular import inputs_of
from psilon_bench.data.task import Task
from psilon_bench.errors import UsageError
from psilon_bench.estimators.bounds import column_bounds
from psilon_bench.estimators.table import NOTHING, Table, new_rows, training_table
from psilon_bench.machine.arithmetic import torch_threads
from psilon_bench.metrics.prediction import probabilities
from psilon_bench.training.certified import upper_input_bounds
from psilon_bench.training.engine import Row
from psilon_bench.training.engines import build_trainer
from psilon_bench.training.member import Member
from psilon_bench.training.trainer import Trainer

# argument -> key of the configuration, whose values in conf/ are the defaults of the arguments
KEYS = {
    "lam": "reg.lam",
    "hidden": "model.hidden",
    "depth": "model.depth",
    "lr": "optimizer.lr",
    "epochs": "trainer.epochs",
    "num_batches": "trainer.num_batches",
    "batch_size": "trainer.batch_size",
    "eval_every": "trainer.eval_every",
    "early_stopping": "trainer.early_stopping",
    "select": "trainer.select",
    "class_weight": "trainer.class_weight",
    "precision": "hardware.precision",
    "device": "hardware.device",
    "n_threads": "hardware.threads",
}

REMEDIES = {
    r"Remove with .*dataset\.drop.*": "Take them out of X.",
    r"Rename them in the file\.": "Rename them.",
    r"; in a table of yours dataset\.missing.*": ".",
}


@dataclass(kw_only=True, eq=False, repr=False)
class NetworkEstimator(BaseEstimator):
    """A network that is trained by `fit` as `psilon-run` trains it with the same values; all arguments are keywords.

    Columns are prepared as in a run: numbers standardised, missing ones replaced by the median beside an indicator,
    levels one 0/1 column each (a level that no training row had is none of them), dates as days. numpy arrays hold
    numbers. Inputs are rounded to float32 before they are cast to `precision`.

    The arguments are keys of the configuration (KEYS), and mean what they mean there: networks of `depth` hidden layers
    of width `hidden`; `epochs` of `num_batches` batches, or of batches of `batch_size` rows; `lr`, the learning rate at
    its peak; an evaluation every `eval_every` epochs, of which `early_stopping` may pass without a better validation
    loss; the network of the `select`ed one, last or best. Where early_stopping or select="best" ask for validation
    rows, `val_size` of the rows (a number or a fraction) are kept back. `random_state` seeds weights, order and these
    rows: an integer as a run's seed does. `n_threads` are torch's while it fits: "auto" takes those that
    make a step fastest, by a trial, and None leaves them as they are.
    """

    options: ClassVar[Mapping[str, str]] = {}  # of conf/, by group

    hidden: int
    depth: int
    lr: float
    epochs: int = 200
    num_batches: int = 5
    batch_size: int | None = None
    eval_every: int = 10
    early_stopping: int | None = None
    select: Literal["last", "best"] = "last"
    val_size: float | int = 0.2
    random_state: Any = 0
    precision: Literal["float32", "float64", "bfloat16", "auto"] = "float32"
    device: str = "auto"
    n_threads: int | Literal["auto"] | None = "auto"

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn asks of an estimator: this one takes missing values and needs a target."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.target_tags.required = True
        tags.non_deterministic = False
        return tags

    @property
    def _regression(self) -> bool:
        """Return whether quantities are predicted, not classes."""
        return isinstance(self, RegressorMixin)

    def _config(self, seed: int, **arguments: Any) -> Config:
        """Return the configuration of a run with the values of this estimator, or with these in their place.

        UsageError that names the argument which is wrong.
        """
        # OmegaConf's grammar takes long to import, and predict needs none
        from psilon_bench.config.compose import compose

        given = {field.name: getattr(self, field.name) for field in fields(self) if field.name in KEYS} | arguments
        values = {KEYS[name]: value.item() if isinstance(value, np.generic) else value for name, value in given.items()}
        with named_as_arguments():
            return compose(self.options, values | {"seed": seed})

    def _parts(self, table: Table, rows: RowNumbers, seed: int) -> tuple[RowNumbers, RowNumbers]:
        """Return the rows to train on and those to validate by: none of the latter where nothing looks at them."""
        if self.early_stopping is None and self.select == "last":
            return rows, NOTHING
        labels = None if table.classes is None else table.target[rows]
        counts = resolve_sizes(len(rows), [None, self.val_size], names=("train", "val"))
        train, val = split_rows(len(rows), counts, seed, labels)
        return rows[train], rows[val]

    def _table(self, X: Any, y: Any, sample_weight: Any) -> Table:
        """Return the rows that `fit` is given; a classifier keeps its classes in `classes_`."""
        with named_as_arguments():
            table = training_table(self, X, y, sample_weight, self._regression)
        self._names = table.names
        if table.classes is not None:
            self.classes_ = table.classes
        return table

    def _seed(self) -> int:
        """Return the seed of weights, batches and validation rows: `random_state` itself where it is a number."""
        if isinstance(self.random_state, int | np.integer):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31))

    def _weighted(self, task: Task) -> Task:
        """Return the task with the weights of classes, where the estimator has any."""
        return task

    def _fit_network(self, table: Table, seed: int, **arguments: Any) -> None:
        """Train one network on all rows that count and keep it; UsageError where it diverges."""
        from psilon_bench.run.checks import member_of  # as compose

        config = self._config(seed, **arguments)
        with named_as_arguments():
            task = self._weighted(table.task(*self._parts(table, table.rows, seed)))
            trainer, (history,) = trained([member_of(config, task)])
        (progress,) = trainer.members
        if progress.status == "failed":
            raise UsageError(f"{type(self).__name__} {progress.reason}. Lower lr, or scale the target.")
        self.task_: Task = task
        self.network_: nn.Module = trainer.stack.network(0).cpu().eval()
        self.history_ = history
        self.n_iter_ = int(history[-1]["epoch"])
        self._certify(list(table.frame.columns))

    def _certify(self, columns: list[str]) -> None:
        """Keep the bound of each column, and their sum."""
        self.input_bounds_ = column_bounds(self.task_, upper_input_bounds(self.network_).numpy(), columns)
        self.lipschitz_bound_ = float(self.input_bounds_.sum())

    @torch.no_grad()
    def _logits(self, X: Any) -> Tensor:
        """Return the outputs of the network on new rows, float64 (rows, outputs).

        ValueError for rows of other columns than those of `fit`, which it names, and for inputs or outputs that are
        not finite.
        """
        check_is_fitted(self)
        fitted = self.task_.preprocessing
        assert isinstance(fitted, Preprocessing)
        with named_as_arguments():
            rows = new_rows(self, X, self._names)
        x = inputs_of(fitted, rows)
        overflow.check_new_inputs(x, fitted, rows)
        outputs = self.network_(x.to(next(self.network_.parameters()).dtype)).double()
        overflow.check_outputs(outputs, x, fitted, rows)
        return outputs


@dataclass(kw_only=True, eq=False, repr=False)
class NetworkClassifier(ClassifierMixin, NetworkEstimator):
    """A network that tells classes apart.

    class_weight: `balanced` for n / (K n_k), or a dictionary of weights by class. Of these the training loss alone is a
    weighted mean, and no validation loss.
    """

    class_weight: Literal["balanced"] | Mapping[Any, float] | None = None

    def _config(self, seed: int, **arguments: Any) -> Config:
        """Return the configuration, which knows no weights by the names of classes."""
        named = {"class_weight": None} if isinstance(self.class_weight, Mapping) else {}
        return super()._config(seed, **named, **arguments)

    def _weighted(self, task: Task) -> Task:
        """Return the task with the weights of classes by name in its training rows."""
        if not isinstance(self.class_weight, Mapping):
            return task
        factors = compute_class_weight(dict(self.class_weight), classes=self.classes_, y=self.classes_)
        by_row = torch.from_numpy(factors)[task.train.y.flatten().long()]
        weights = by_row if task.train.weights is None else by_row * task.train.weights
        return replace(task, train=replace(task.train, weights=weights))

    def decision_function(self, X: Any) -> np.ndarray:
        """Return the logits, (rows, classes), of two classes that of the second, (rows,)."""
        logits = self._logits(X).numpy()
        return logits[:, 0] if logits.shape[1] == 1 else logits

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class, (rows, classes), in the order of `classes_`."""
        logits = self._logits(X)
        return np.asarray(probabilities(self.task_.kind, logits))

    def predict(self, X: Any) -> np.ndarray:
        """Return the class of each row, (rows,): that of the largest probability."""
        logits = self.decision_function(X)
        return self.classes_[(logits > 0).astype(int) if logits.ndim == 1 else logits.argmax(axis=1)]


@dataclass(kw_only=True, eq=False, repr=False)
class NetworkRegressor(RegressorMixin, NetworkEstimator):
    """A network that predicts a quantity, trained on (y - median) / (IQR / 2) of the training rows."""

    def predict(self, X: Any) -> np.ndarray:
        """Return the prediction of each row, (rows,), in units of the target."""
        scaled = self._logits(X).numpy()[:, 0]
        return np.asarray(self.task_.target_center + self.task_.target_scale * scaled)


def trained(members: Sequence[Member]) -> tuple[Trainer, list[list[Row]]]:
    """Return the trainer of a stack at its end, with the selected networks in it, and the history of each member."""
    histories: list[list[Row]] = [[] for _ in members]
    hardware = members[0].config.hardware
    with torch_threads(hardware.threads):
        trainer = build_trainer(members)
        trainer.tune(hardware)
        trainer.run(lambda member, row: histories[member].append(row))
        trainer.select()
    return trainer, histories


@contextmanager
def named_as_arguments() -> Iterator[None]:
    """Let messages name the arguments of an estimator, and X, in place of the keys of a configuration."""
    try:
        yield
    except UsageError as error:
        text = str(error)
        for pattern, remedy in REMEDIES.items():
            text = re.sub(pattern, remedy, text)
        for name, key in KEYS.items():
            text = text.replace(key, name)
        raise UsageError(text.replace("null", "None")) from error
