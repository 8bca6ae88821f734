"""The rows that an estimator is given, as a table of columns, and the task of learning from some of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, validate_data

from psilon_bench.data import checks
from psilon_bench.data.split import RowNumbers
from psilon_bench.data.tabular import RawTable, TaskOptions, make_task
from psilon_bench.data.task import Task
from psilon_bench.errors import UsageError

OPTIONS = TaskOptions(sizes=[None, None, None], max_rows=None, split_seed=0)  # rows are named, so none are drawn
NOTHING = np.array([], dtype=np.int64)
NUMBERS: dict[str, Any] = {"dtype": np.float64, "ensure_all_finite": "allow-nan"}  # what an array must hold


@dataclass(frozen=True)
class Table:
    """Inputs (rows x columns), the target (rows,) as numbers of classes or quantities, and weights (rows,) or None.

    classes: those of the rows that count, in the order of their numbers; None for a regression.
    names: of the columns as they were given, such as 0, 1, ... of an array.
    """

    frame: pd.DataFrame
    target: np.ndarray
    weights: np.ndarray | None
    classes: np.ndarray | None
    names: list[Any]

    def counted(self, rows: RowNumbers) -> RowNumbers:
        """Return those of the rows that count: a row of weight 0 is as good as none."""
        return rows if self.weights is None else rows[self.weights[rows] > 0]

    @property
    def rows(self) -> RowNumbers:
        """Return the numbers of the rows that count."""
        return self.counted(np.arange(len(self.frame)))

    def task(self, train: RowNumbers, val: RowNumbers = NOTHING) -> Task:
        """Return the task of learning from the rows `train`; everything fitted is fitted to them alone.

        UsageError for columns that cannot be learnt from: infinite numbers, prose, the same value throughout.
        """
        name = "the target"
        while name in self.frame:
            name += "_"
        dates = [c for c in self.frame if pd.api.types.is_datetime64_any_dtype(self.frame[c])]
        numbers = [c for c in self.frame if is_number(self.frame[c])]
        raw = RawTable(
            name="X",
            frame=self.frame.assign(**{name: self.target}),
            target=name,
            regression=self.classes is None,
            categorical=[c for c in self.frame if c not in {*dates, *numbers}],
            source="memory",
            licence="",
            checksum="",
            dates=dates,
            weights=None if self.weights is None else pd.Series(self.weights, self.frame.index),
        )
        return make_task(raw, OPTIONS, [train, val, NOTHING])


def is_number(column: pd.Series) -> bool:
    """Tell whether a column holds quantities; truth values and durations are such."""
    return pd.api.types.is_numeric_dtype(column) or pd.api.types.is_timedelta64_dtype(column)


def training_table(estimator: BaseEstimator, X: Any, y: Any, sample_weight: Any, regression: bool) -> Table:
    """Return what `fit` is given, checked as scikit-learn does; the estimator remembers the columns of X.

    Raises ValueError for rows that do not fit each other, for names of columns that repeat or of which some are strings
    and others not, for a target that is missing, of a single class or no numbers, and for weights that are negative,
    missing or all 0.
    """
    if isinstance(X, pd.DataFrame):
        check_column_names(X)
        validate_data(estimator, X, y, skip_check_array=True)
        check_array(np.zeros((len(X), 1)), ensure_min_samples=2, estimator=estimator)
        y = column_or_1d(check_array(y, ensure_2d=False, dtype=None, input_name="y"), warn=True)
    else:
        X, y = validate_data(estimator, X, y, ensure_min_samples=2, **NUMBERS)
    check_consistent_length(X, y, sample_weight)
    weights = None if sample_weight is None else row_weights(sample_weight, len(y))
    target, classes = (quantities(y), None) if regression else class_numbers(estimator, y, weights)
    return Table(frame_of(estimator, X), target, weights, classes, names_of(X))


def new_rows(estimator: BaseEstimator, X: Any, names: list[Any]) -> pd.DataFrame:
    """Return what `predict` is given as a table; `names` are those of the columns in `fit`, as they were given there.

    Columns are matched by name where both have strings for names, and else by position, as scikit-learn does. Raises
    ValueError that names columns which `fit` did not see or which are missing, and for numbers as names in another
    order than in `fit`.
    """
    if isinstance(X, pd.DataFrame):
        check_column_names(X)
        validate_data(estimator, X, reset=False, skip_check_array=True)
        given, expected = names_of(X), list(range(len(names))) if has_strings(names) else names
        if not has_strings(given) and given != expected:
            fitted, other = (checks.name_list([str(name) for name in some]) for some in (expected, given))
            raise UsageError(
                f"The columns of X must be those of fit in the same order, {fitted}, but are {other}. "
                "Reorder or rename them."
            )
    else:
        X = validate_data(estimator, X, reset=False, **NUMBERS)
    return frame_of(estimator, X)


def frame_of(estimator: BaseEstimator, X: Any) -> pd.DataFrame:
    """Return inputs as a data frame with rows from 0; columns that had no names in `fit` are x0, x1, ..."""
    frame = X.reset_index(drop=True) if isinstance(X, pd.DataFrame) else pd.DataFrame(X)
    names = getattr(estimator, "feature_names_in_", [f"x{i}" for i in range(frame.shape[1])])
    return frame.set_axis(list(names), axis=1)


def names_of(X: Any) -> list[Any]:
    """Return the names of the columns as they are given; those of an array are its numbers of columns."""
    return list(X.columns) if isinstance(X, pd.DataFrame) else list(range(X.shape[1]))


def has_strings(names: list[Any]) -> bool:
    """Tell whether the names are strings, by which alone scikit-learn matches columns."""
    return all(isinstance(name, str) for name in names)


def check_column_names(X: pd.DataFrame) -> None:
    """Raise UsageError for names of columns that repeat, or of which some are strings and others not."""
    names = names_of(X)
    checks.check_names(names)
    if not has_strings(names) and any(isinstance(name, str) for name in names):
        other = next(name for name in names if not isinstance(name, str))
        raise UsageError(
            f"Column names must all be strings, or none of them, but {other!r} ({type(other).__name__}) is no string. "
            "Set X.columns = X.columns.astype(str)."
        )


def quantities(y: np.ndarray) -> np.ndarray:
    """Return the target of a regression as float64; UsageError for words."""
    try:
        return y.astype(np.float64)
    except (TypeError, ValueError) as error:
        odd = next(value for value in y if not isinstance(value, int | float | np.number))
        raise UsageError(
            f"Unknown label type: a regression target must be numbers, but y holds {str(odd)[:40]!r}. "
            "Take a classifier for classes."
        ) from error


def class_numbers(estimator: BaseEstimator, y: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of each row's class, from 0, and the classes in order; UsageError where one class counts.

    A class whose rows all have weight 0 is none. What number its rows have says nothing, for they count nowhere.
    """
    check_classification_targets(y)
    classes = np.unique(y if weights is None else y[weights > 0])
    numbers = np.searchsorted(classes, y).clip(max=len(classes) - 1)
    if len(classes) < 2:
        raise UsageError(
            f"{type(estimator).__name__} tells classes apart, but y holds one class alone: {classes[0]!s:.40}. "
            "Give rows of two classes or more."
        )
    return numbers, classes


def row_weights(sample_weight: Any, rows: int) -> np.ndarray:
    """Return the weights as float64 (rows,); ValueError unless they are finite, at least 0, and some above 0."""
    weights = check_array(sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
    if weights.shape != (rows,):
        raise UsageError(f"sample_weight.shape == {weights.shape}, expected {(rows,)}! Give a weight for each row.")
    if (weights < 0).any() or not weights.any():
        what = "holds numbers below zero" if weights.any() else "is zero for all rows"
        raise UsageError(f"sample_weight must be at least 0, and above 0 for some row, but it {what}. Correct it.")
    return weights
