"""teacher.parquet: what an ensemble predicts of rows that its networks have not trained on, as targets of a student.

It has a row for each validation row of the ensemble, of a cross-validation for each row that is not a test row:

    row                                        its number in the table as the source gave it, from 0
    target                                     the label: a class by name, or a number in units of the target
    prediction, or probability/<class> of all  of the ensemble, the latter at its temperature

Predictions out of fold do not carry over what the teacher learnt by heart of the row itself: cross-fitting, of Dao,
Kamath, Syrgkanis & Mackey 2021, Knowledge distillation as semiparametric inference (ICLR, arXiv 2104.09732).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from psilon_bench.config.sections import TEACHER
from psilon_bench.data.task import Task
from psilon_bench.errors import UsageError, in_brief

# keys of the file's metadata: the checksum of the data, and `digest_of_rows` of the rows that test the ensemble
DATA, TEST_ROWS = b"data", b"test_rows"
ROUNDING = 1e-5  # of targets in units of their scale, which were float32
MAKE = "Train both with dataset.split_seed=0, the ensemble with cv=5 ensemble=true"


@dataclass(frozen=True)
class Teacher:
    """The content of a teacher.parquet; `frame` has the number of the row as its index, and is ordered by it."""

    folder: Path
    frame: pd.DataFrame
    data: str
    test_rows: str

    @property
    def named(self) -> str:
        """Return what a message begins with."""
        return f"trainer.teacher={self.folder}"


def digest_of_rows(rows: Sequence[int] | np.ndarray) -> str:
    """Return 64 hex digits that stand for a set of row numbers."""
    return hashlib.sha256(np.unique(np.asarray(rows, dtype="<i8")).tobytes()).hexdigest()


def read_teacher(folder: Path) -> Teacher:
    """Return what an ensemble in a folder teaches; UsageError where there is none, or it cannot be read."""
    path = folder / TEACHER
    try:
        table = pq.read_table(path)
        frame = table.to_pandas().set_index("row").sort_index()
        data, test_rows = ((table.schema.metadata or {})[key].decode() for key in (DATA, TEST_ROWS))
        if not (frame.index.is_unique and np.isfinite(numbers_of(frame)).all()):
            raise ValueError("a row is there twice, or a number is not finite")
    except FileNotFoundError as error:
        raise UsageError(
            f"trainer.teacher={folder} must be the folder of an ensemble, with {TEACHER}. {MAKE}."
        ) from error
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise UsageError(f"{path} cannot be read ({in_brief(error)}). {MAKE}.") from error
    return Teacher(folder, frame, data, test_rows)


def numbers_of(frame: pd.DataFrame) -> np.ndarray:
    """Return the predictions (rows, 1) or the probabilities (rows, classes), as they stand in the file."""
    return np.array(frame.drop(columns="target"), dtype=float)


def check_same_rows(teacher: Teacher, task: Task) -> None:
    """Raise UsageError unless the test rows of the task are those of the ensemble, which no network of it has seen.

    Numbers name the same rows in the same data alone: a file in another order may have the same targets at them.
    """
    if task.train.rows is None or task.test.rows is None:
        raise UsageError(
            f"{teacher.named} is matched by the numbers of rows, and those of {task.name} have none. "
            "Set trainer.teacher=null."
        )
    if teacher.data != task.checksum:
        raise UsageError(
            f"{teacher.named} may have trained on test rows of {task.name}, for it is of other data (checksum "
            f"{teacher.data[:8]}, not {task.checksum[:8]}), where numbers name other rows. {MAKE}."
        )
    if digest_of_rows(task.test.rows.numpy()) != teacher.test_rows:
        raise UsageError(
            f"{teacher.named} may have trained on test rows of {task.name}, for it was tested on other rows than these "
            f"{len(task.test)}: it is of another split. {MAKE}."
        )


def teacher_targets(teacher: Teacher, task: Task) -> Tensor:
    """Return what the teacher predicts of the training rows of a task, as a network's targets, in float64.

    Of a regression (rows, 1) in units of `target_scale`; of two classes (rows, 1), the probability of class 1; of more
    (rows, classes), the probabilities. Raises UsageError where the teacher has other columns, lacks rows, or has other
    targets than the task.
    """
    columns = list(teacher.frame.columns.drop("target"))
    wanted = ["prediction"] if task.kind == "regression" else [f"probability/{name}" for name in task.classes]
    if columns != wanted:
        raise UsageError(
            f"{teacher.named} predicts {', '.join(columns[:3])}, where {task.name} asks for {', '.join(wanted[:3])}: "
            f"it is of another target. {MAKE}."
        )
    assert task.train.rows is not None, "check_same_rows asks for numbers of rows"
    rows = task.train.rows.numpy()
    if lacking := int((~np.isin(rows, teacher.frame.index)).sum()):
        raise UsageError(
            f"{teacher.named} must predict every training row, but lacks {lacking} of the {len(rows)} of {task.name}: "
            f"without cv=5 it has but the rows that validated it. {MAKE}."
        )
    frame = teacher.frame.loc[rows]
    if differing := int((~same_targets(frame["target"], task)).sum()):
        raise UsageError(
            f"{teacher.named} must have the targets of {task.name}, but {differing} of the {len(rows)} training rows "
            f"have others: it is of another target. {MAKE}."
        )
    values = torch.from_numpy(numbers_of(frame))
    if task.kind == "regression":
        return (values - task.target_center) / task.target_scale
    return values[:, 1:] if task.kind == "binary" else values


def same_targets(labels: pd.Series, task: Task) -> np.ndarray:
    """Tell of each training row, (rows,), whether its label is the task's; numbers up to the rounding of float32."""
    y = task.train.y.flatten().numpy()
    if task.kind != "regression":
        return np.asarray(labels.astype(str) == np.array(task.classes)[y.astype(int)])
    scaled = (labels.to_numpy(float) - task.target_center) / task.target_scale
    return np.isclose(scaled, y, rtol=ROUNDING, atol=ROUNDING)
