"""trainer.teacher: training rows have targets between their labels and what an ensemble predicts of them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor
from torch.nn import functional as F

from psilon_bench.config.sections import TrainerSection
from psilon_bench.data.task import Split, Task
from psilon_bench.data.teacher import read_teacher, teacher_targets


def taught_splits(splits: Sequence[Split], tasks: Sequence[Task], settings: TrainerSection) -> list[Split]:
    """Return the training rows of each task with (1 - w) label + w teacher as targets; those that are shared still are.

    w is trainer.teacher_weight; without a teacher, or with w = 0, the rows are returned as they are.
    """
    if settings.teacher is None or not settings.teacher_weight:
        return list(splits)
    teacher, taught = read_teacher(Path(settings.teacher)), {}
    for split, task in zip(splits, tasks, strict=True):
        if id(split) not in taught:
            y = blended_targets(labels(task), teacher_targets(teacher, task), settings.teacher_weight)
            taught[id(split)] = replace(split, y=y)
    return [taught[id(split)] for split in splits]


def labels(task: Task) -> Tensor:
    """Return the targets of the training rows, float64 (rows, 1), of more than two classes one-hot (rows, classes)."""
    y = task.train.y
    return F.one_hot(y, task.num_outputs).double() if task.kind == "multiclass" else y.double()


def blended_targets(hard: Tensor, soft: Tensor, weight: float) -> Tensor:
    """Return (1 - weight) hard + weight soft, (rows, outputs).

    Cross-entropy is linear in its targets, so that its mean over blended ones is (1 - w) times that of the labels plus
    w times that of the teacher: the two objectives of Hinton, Vinyals & Dean 2015, Distilling the knowledge in a neural
    network (arXiv 1503.02531), section 2, at temperature 1. The square of a regression differs from the like sum of two
    squares by w (1 - w) (hard - soft)^2, which no network can change.
    """
    return (1 - weight) * hard + weight * soft
