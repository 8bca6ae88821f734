"""k folds: the rows that are not test rows are cut into parts, of which one validates and the others train."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from psilon_bench.data.split import RowNumbers
from psilon_bench.errors import UsageError

FoldCount = Annotated[int, Field(ge=2)]
Fold = Annotated[int, Field(ge=0)] | Literal["all"]


@dataclass(frozen=True)
class Folds:
    """The folds of a task and the one that validates; with the fold "all" every row trains and none validates.

    The partition depends on the seed of the split and on `repeat`, not on `fold`: over all folds each row validates
    once. Classes keep their proportions in every fold, as far as they have rows, and groups stay whole.
    """

    count: int
    fold: int | Literal["all"]
    repeat: int

    @classmethod
    def of(cls, folds: int | None, fold: int | Literal["all"] | None, repeat: int) -> "Folds | None":
        """Return the folds that a dataset section asks for; None where it asks for none."""
        return None if folds is None or fold is None else cls(folds, fold, repeat)

    def cut(
        self,
        parts: Sequence[RowNumbers],
        seed: int,
        labels: np.ndarray | None,
        groups: np.ndarray | None,
        classes: Sequence[str],
    ) -> list[RowNumbers]:
        """Return training, validation and test rows, int64 (count,) each, where `parts` are those without folds.

        The test rows are kept as they are. labels: the class (rows,) of every row, an index of `classes`; None for a
        regression. groups: the group (rows,) of every row, or None. Raises UsageError where there are too few rows or
        groups for so many folds, or one row of a class.
        """
        rest = np.sort(np.concatenate(parts[:2]))
        if self.fold == "all":
            return [rest, rest[:0], parts[2]]
        number = self.numbers(rest, seed, labels, groups, classes)
        return [rest[number != self.fold], rest[number == self.fold], parts[2]]

    def numbers(
        self,
        rows: RowNumbers,
        seed: int,
        labels: np.ndarray | None,
        groups: np.ndarray | None,
        classes: Sequence[str],
    ) -> np.ndarray:
        """Return the fold of each of these rows, int64 (count,), from 0 to count - 1; see `cut`."""
        own_labels, own_groups = (None if values is None else values[rows] for values in (labels, groups))
        self._check_counts(len(rows), own_labels, own_groups, classes)
        number = np.full(len(rows), -1)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The least populated class")  # some folds validate without it
            parts = [*self._splitter(seed, own_labels, own_groups).split(rows, own_labels, own_groups)]
        for fold, (_, validation) in enumerate(parts):
            number[validation] = fold
        self._check_whole(np.bincount(number, minlength=self.count))
        return number

    def _splitter(self, seed: int, labels: np.ndarray | None, groups: np.ndarray | None) -> Any:
        """Return scikit-learn's splitter: stratified for classes, of whole groups where there are any."""
        from sklearn import model_selection  # a tenth of a second that runs without folds do not spend

        state = int(np.random.SeedSequence([seed, self.repeat]).generate_state(1)[0])
        stratified, grouped = "" if labels is None else "Stratified", "" if groups is None else "Group"
        return getattr(model_selection, f"{stratified}{grouped}KFold")(self.count, shuffle=True, random_state=state)

    def _check_counts(
        self, rows: int, labels: np.ndarray | None, groups: np.ndarray | None, classes: Sequence[str]
    ) -> None:
        """Raise UsageError where there are fewer rows, or groups, than folds, or a fold would train without a class."""
        there, what = (rows, "row") if groups is None else (len(np.unique(groups)), "whole group")
        where = f"the {rows} rows that are not test rows"
        if there < self.count:
            raise UsageError(
                f"Each of dataset.folds={self.count} folds needs a {what}, but {where} make {there}. "
                f"Set dataset.folds to at most {there}."
            )
        if labels is None:
            return
        sizes = np.bincount(labels, minlength=len(classes))
        rarest = classes[int(sizes.argmin())]
        if sizes.min() < 2:
            raise UsageError(
                f"dataset.folds={self.count} needs two rows of each class, so that one trains where the other "
                f"validates, but {where} hold {sizes.min()} of class {rarest!r}. Merge rare classes."
            )
        if sizes.max() < self.count:
            raise UsageError(
                f"Each of dataset.folds={self.count} folds needs a row of the largest class, but {where} hold "
                f"{sizes.max()}. Set dataset.folds to at most {sizes.max()}."
            )

    def _check_whole(self, sizes: np.ndarray) -> None:
        """Raise UsageError where large groups leave a fold empty."""
        if not sizes.all():
            raise UsageError(
                f"Each of dataset.folds={self.count} folds needs a whole group, but the groups make "
                f"{'/'.join(map(str, sizes))} rows. Set dataset.folds to less, or dataset.group to a finer column."
            )
