"""trainer.class_weight: rare classes count more in the training loss, and in it alone."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch

from psilon_bench.data.task import Split, Task

ClassWeight = Literal["balanced"]


def training_splits(tasks: Sequence[Task], class_weight: ClassWeight | None) -> list[Split]:
    """Return the training rows of each task, weighted by class where asked; tasks that share their rows still do."""
    if class_weight is None:
        return [task.train for task in tasks]
    balanced = {id(task.train): balanced_classes(task.train) for task in tasks}
    return [balanced[id(task.train)] for task in tasks]


def balanced_classes(split: Split) -> Split:
    """Return the rows with weights multiplied by n / (K n_k), so that all K classes count alike.

    n and n_k are the numbers of rows, in all and of class k, or the sums of their weights: scikit-learn's `balanced`.
    A class whose rows all have weight 0 is none of the K.
    """
    from sklearn.utils.class_weight import compute_class_weight  # a second that runs without class weights do not spend

    codes = split.y.flatten().numpy()
    weights = np.ones(len(codes)) if split.weights is None else split.weights.numpy()
    counted = weights > 0
    classes, places = np.unique(codes[counted], return_inverse=True)
    factors = compute_class_weight(
        "balanced", classes=np.arange(len(classes)), y=places, sample_weight=weights[counted]
    )
    balanced = np.zeros(len(codes))
    balanced[counted] = weights[counted] * factors[places]
    return replace(split, weights=torch.from_numpy(balanced))
