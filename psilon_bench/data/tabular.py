"""From a raw table to a Task: rows are chosen, preprocessing is fitted on the training rows, and tensors are made."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from psilon_bench.data import checks, overflow, targets
from psilon_bench.data.fit_preprocessing import constant_columns, fit_preprocessing
from psilon_bench.data.folds import Folds
from psilon_bench.data.form import Form
from psilon_bench.data.given_split import GivenSplit, split_of_words, with_validation
from psilon_bench.data.preprocessing import DateEncoding, Encoding, Preprocessing
from psilon_bench.data.split import NAMES, RowNumbers, Size, are_all_rows, resolve_sizes, split_rows
from psilon_bench.data.standardisation import ScaleOverflow, ScalingName
from psilon_bench.data.task import Kind, Split, Task, check_weights
from psilon_bench.data.time_order import split_by_order
from psilon_bench.errors import UsageError

Protocol = Literal["none", "psilon"]
# PSiLON (Biswas 2024): at most 20,000 rows, 2000 for training, the rest in halves, categories as codes
PSILON: dict[str, Any] = {
    "train_size": 2000,
    "val_size": None,
    "test_size": None,
    "max_rows": 20_000,
    "encoding": "codes",
}


def without_protocol(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a source with the values that its protocol sets in place of those it overrides."""
    psilon = PSILON if arguments.pop("protocol", "none") == "psilon" else {}
    return {key: psilon.get(key, value) for key, value in arguments.items()}


@dataclass(frozen=True)
class RawTable:
    """A data frame (rows x columns) as its source gave it, with what the source knows about it."""

    name: str
    frame: pd.DataFrame  # inputs and target
    target: str
    regression: bool
    categorical: list[str]  # input columns whose values are levels, not quantities
    source: str
    licence: str
    checksum: str
    notes: list[str] = field(default_factory=list)
    group: str | None = None  # rows with equal values here stay in one split; not an input
    dates: list[str] = field(default_factory=list)  # input columns whose values are days or moments
    form: Form = field(default_factory=Form)  # of numbers and missing values in text, in new rows too
    lines: Sequence[int] | None = None  # of a file, the line that each row begins on
    given: GivenSplit | None = None  # a split that was made elsewhere
    moments: pd.Series | None = None  # (rows,) dates or numbers in whose order the rows are split; not an input
    weights: pd.Series | None = None  # (rows,) how often each row counts; not an input

    def place(self, row: int) -> str:
        """Return where a person finds the row with this label of the frame's index."""
        return f"row {row + 1}" if self.lines is None else f"line {self.lines[row]}"

    def without(self, columns: list[str]) -> "RawTable":
        """Return the table without these input columns; UsageError where one of them does not exist."""
        checks.check_present("dataset.drop", columns, [c for c in self.frame if c not in (self.target, self.group)])
        levels, dates = ([c for c in named if c not in columns] for named in (self.categorical, self.dates))
        return replace(self, frame=self.frame.drop(columns=columns), categorical=levels, dates=dates)

    def split_by(self, column: str) -> "RawTable":
        """Return the table whose split a column of words says (see split_of_words); the column is no input any more."""
        self._check_input("dataset.split", column)
        rows = np.arange(len(self.frame))
        given = split_of_words(self.frame[column], rows, f"dataset.split={column}", self.place)
        return replace(self.without([column]), given=given)

    def ordered_by(self, column: str) -> "RawTable":
        """Return the table whose rows are split in the order of a column, which is no input any more.

        Raises UsageError for a column of levels, which have no order.
        """
        self._check_input("dataset.order_by", column)
        if column in self.categorical:
            example = str(self.frame[column].dropna().iloc[0])[:40]
            raise UsageError(
                f"dataset.order_by={column} must hold dates or numbers, but holds {example!r}. Convert it."
            )
        return replace(self.without([column]), moments=self.frame[column])

    def weighted_by(self, column: str) -> "RawTable":
        """Return the table whose rows count as often as a column says, which is no input any more.

        Raises UsageError for a column of levels or dates, and that names the first row whose weight is no number of at
        least 0. Rows without a target need no weight.
        """
        self._check_input("dataset.weights", column)
        if column in (*self.categorical, *self.dates):
            example = str(self.frame[column].dropna().iloc[0])[:40]
            raise UsageError(f"dataset.weights={column} must hold numbers, but holds {example!r}. Take another column.")
        weights = self.frame[column].to_numpy(dtype=np.float64, na_value=np.nan)
        wrong = ~(np.isfinite(weights) & (weights >= 0)) & self.frame[self.target].notna().to_numpy()
        if wrong.any():
            row = int(wrong.argmax())
            holds = "is empty" if np.isnan(weights[row]) else f"holds {weights[row]:g}"
            raise UsageError(
                f"dataset.weights={column} must hold finite numbers of at least 0, but "
                f"{self.place(self.frame.index[row])} {holds}. Correct the cell."
            )
        notes = [*self.notes, f"rows are weighted by {column!r}: training, losses and accuracies are weighted means"]
        return replace(self.without([column]), weights=pd.Series(weights, self.frame.index), notes=notes)

    def _check_input(self, key: str, column: str) -> None:
        """Raise UsageError unless the column is an input; `key` is the setting that names it."""
        checks.check_present(key, [column], [c for c in self.frame if c not in (self.target, self.group)])


@dataclass(frozen=True)
class TaskOptions:
    """How rows are split and columns encoded; `with_protocol` gives the choices of a paper."""

    sizes: list[Size | None]  # train, val, test
    max_rows: int | None
    split_seed: int
    encoding: Encoding = "onehot"
    dates: DateEncoding = "ordinal"
    folds: Folds | None = None
    scaling: ScalingName = "standard"

    @property
    def split_sizes(self) -> list[Size | None]:
        """Return the sizes of the splits; folds are cut from all rows but those of the test."""
        return self.sizes if self.folds is None or are_all_rows(self.sizes) else [None, None, self.sizes[2]]

    def with_protocol(self, protocol: Protocol) -> "TaskOptions":
        """Return the options with the values of a protocol (see PSILON); the seed of the split stays."""
        if protocol == "none":
            return self
        sizes = [PSILON[f"{name}_size"] for name in NAMES]
        return replace(self, sizes=sizes, max_rows=PSILON["max_rows"], encoding=PSILON["encoding"])


def make_task(raw: RawTable, options: TaskOptions, parts: list[RowNumbers] | None = None) -> Task:
    """Return the task of a raw table.

    `parts` are the row numbers of the training, validation and test set, from a source that knows them; otherwise
    `options` say how to split. Raises UsageError for a table that cannot be learnt from: too few rows or classes,
    columns of prose, numbers that are infinite or become so when they are scaled.
    """
    frame, notes = _labelled_rows(raw)
    target, inputs = frame[raw.target], frame.drop(columns=[raw.target, *([raw.group] if raw.group else [])])
    targets.check_target(target, raw.regression, raw.place)
    checks.check_columns(inputs, raw.categorical, raw.dates, raw.place)
    if parts is None and not raw.regression:
        targets.check_class_sizes(target)
    values, classes = _values(target, raw.regression)
    parts = parts or _split(values, classes, frame, raw, options)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is looked for below
        weights = None if raw.weights is None else raw.weights[frame.index].to_numpy()
        trained = None if weights is None else weights[parts[0]]
        check_weights(raw.name, "train", None if trained is None else torch.from_numpy(trained))
        preprocessing = _fit(inputs, parts[0], trained, raw, options, notes)
        center, scale = targets.robust_scale(values[parts[0]], trained) if raw.regression else (0.0, 1.0)
        y = targets.class_tensor(values, len(classes)) if classes else targets.scaled_tensor(values, center, scale)
        numbers = torch.tensor(_row_numbers(raw.frame, frame))
        splits = [Split(inputs_of(preprocessing, inputs.iloc[rows]), y[rows], numbers[rows]) for rows in parts]
        if weights is not None:
            pairs = zip(splits, parts, strict=True)
            splits = [replace(split, weights=torch.from_numpy(weights[rows])) for split, rows in pairs]
    overflow.check_inputs(splits, preprocessing.feature_names, inputs, raw.place)
    overflow.check_targets(y, scale, target, raw.place)
    return Task(
        name=raw.name,
        kind=_kind(classes),
        train=splits[0],
        val=splits[1],
        test=splits[2],
        feature_names=preprocessing.feature_names,
        input_scales=preprocessing.input_scales,
        num_outputs=len(classes) if len(classes) > 2 else 1,
        classes=classes,
        target_center=center,
        target_scale=scale,
        target_name=raw.target,
        preprocessing=preprocessing,
        source=raw.source,
        licence=raw.licence,
        checksum=raw.checksum,
        notes=notes,
    )


def _labelled_rows(raw: RawTable) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows that have a target and a split, without classes of no row, and notes on what was left out."""
    frame, notes = raw.frame, list(raw.notes)
    if raw.given is not None:
        frame = frame[frame.index.isin(raw.given.rows)]
    missing = frame[raw.target].isna()
    if missing.any():
        frame = frame[~missing]
        notes.append(f"left out {missing.sum()} {'row' if missing.sum() == 1 else 'rows'} without a target")
    if isinstance(frame[raw.target].dtype, pd.CategoricalDtype):
        frame = frame.assign(**{raw.target: frame[raw.target].cat.remove_unused_categories()})
    return frame, notes


def _values(target: pd.Series, regression: bool) -> tuple[np.ndarray, list[str]]:
    """Return the target as numbers (rows,) and the names of the classes; no names for regression."""
    return (target.to_numpy(dtype=np.float64), []) if regression else targets.class_codes(target)


def _kind(classes: list[str]) -> Kind:
    """Return the kind of a task by its classes."""
    return "regression" if not classes else "binary" if len(classes) == 2 else "multiclass"


def _row_numbers(whole: pd.DataFrame, frame: pd.DataFrame) -> np.ndarray:
    """Return the number (rows,) in the whole table of each row that is left, int64: its label, where that is a number.

    Higgs reads some rows of a file alone, whose labels are their numbers in the file.
    """
    numbered = pd.api.types.is_integer_dtype(whole.index)
    return frame.index.to_numpy(dtype=np.int64) if numbered else np.flatnonzero(whole.index.isin(frame.index))


def _split(
    values: np.ndarray, classes: list[str], frame: pd.DataFrame, raw: RawTable, options: TaskOptions
) -> list[RowNumbers]:
    """Return the row numbers of each split; UsageError where the training rows lack a class."""
    groups = None if raw.group is None else pd.factorize(frame[raw.group], use_na_sentinel=False)[0]
    labels = None if raw.regression else values
    parts = _parts(frame, raw, options, labels, groups)
    if options.folds is not None:
        parts = options.folds.cut(parts, options.split_seed, labels, groups, classes)
    if labels is not None:
        above = None if raw.weights is None else raw.weights[frame.index].to_numpy()[parts[0]] > 0
        counted = parts[0] if above is None or not above.any() else parts[0][above]  # make_task refuses none above
        what = f"rows of {raw.name}{'' if raw.weights is None else ' with weights above 0'}"
        targets.check_every_class(labels[counted], len(classes), what, _remedy(raw, options))
    return parts


def _remedy(raw: RawTable, options: TaskOptions) -> str:
    """Return what gives the training rows more classes."""
    if options.folds is not None:
        return "Set dataset.folds to less, or dataset.repeat to another partition"
    if raw.given is not None:
        return f"Name rows of each class for training in {raw.given.named_by}"
    return "Ask for a larger dataset.train_size, or for another split"


def _parts(
    frame: pd.DataFrame, raw: RawTable, options: TaskOptions, labels: np.ndarray | None, groups: np.ndarray | None
) -> list[RowNumbers]:
    """Return the row numbers of each split before any folds: as given, in an order, or at random."""
    if raw.given is not None:
        parts = raw.given.parts(frame.index)
        if options.folds is None:
            return with_validation(parts, options.sizes[1], options.split_seed, labels, groups)
        if len(parts[1]):
            raise UsageError(
                f"dataset.folds={options.folds.count} cuts validation rows from those for training, but "
                f"{raw.given.named_by} names {len(parts[1])} of its own. Name them train, or let cv and folds be null."
            )
        return parts
    counts = resolve_sizes(len(frame), options.split_sizes, options.max_rows)
    if raw.moments is not None:
        return split_by_order(raw.moments[frame.index], counts, raw.place)
    return split_rows(len(frame), counts, options.split_seed, labels, groups)


def _fit(
    inputs: pd.DataFrame,
    rows: RowNumbers,
    weights: np.ndarray | None,
    raw: RawTable,
    options: TaskOptions,
    notes: list[str],
) -> Preprocessing:
    """Return the preprocessing fitted to the training rows that count, less constant columns."""
    counted = inputs.iloc[rows if weights is None else rows[weights > 0]]
    constant = constant_columns(counted)
    if constant:
        notes.append(f"dropped constant columns: {checks.name_list(constant)}")
    varied = counted.drop(columns=constant)
    if not varied.shape[1]:
        raise UsageError("Some input column must vary in the training rows, but every one is constant.")
    counts = None if weights is None else weights[weights > 0]
    how = (raw.categorical, options.encoding, raw.dates, options.dates, raw.form, counts, options.scaling)
    try:
        return fit_preprocessing(varied, *how)
    except ScaleOverflow as error:
        numbers = [c for c in varied if c not in {*raw.categorical, *raw.dates}]
        raise checks.overflow("column", inputs[numbers[error.column]], raw.place) from error


def inputs_of(preprocessing: Preprocessing, rows: pd.DataFrame) -> Tensor:
    """Return the transformed rows, float32 (rows, features); infinite where a number overflows."""
    return torch.from_numpy(preprocessing.transform(rows)).float()
