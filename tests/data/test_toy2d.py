"""The points in the plane: classes by the circle, so many outliers among the training points and none elsewhere."""

from typing import Any

import numpy as np
import pytest
import torch

from psilon_bench.errors import UsageError


@pytest.mark.parametrize("outliers", [0, 7, 40])
def test_so_many_training_points_have_the_other_class(load: Any, outliers: Any) -> None:
    task = load("toy2d", train_size=40, val_size=300, test_size=30, radius=0.6, outliers=outliers, split_seed=3)
    assert task.classes == ["inside", "outside"]
    wrong = []
    for split in (task.train, task.val, task.test):
        means = [column.value.mean for column in task.preprocessing.columns]
        raw = split.x.double().numpy() * task.input_scales + means
        assert (np.abs(raw) <= 1 + 1e-6).all()
        outside = torch.from_numpy((raw**2).sum(axis=1) >= 0.6**2)
        wrong.append(int((outside != (split.y[:, 0] > 0.5)).sum()))
    assert wrong == [outliers, 0, 0]


def test_the_seed_is_all_that_decides(load: Any) -> None:
    """The same points twice, others with another seed; outliers change labels alone."""
    first, again, other = (load("toy2d", split_seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.train.x, again.train.x)
    assert not torch.equal(first.train.x, other.train.x)
    clean = load("toy2d", split_seed=0, outliers=0)
    assert torch.equal(clean.train.x, first.train.x)
    assert (clean.train.y != first.train.y).sum() == 5


def test_more_outliers_than_points_are_refused(load: Any) -> None:
    with pytest.raises(UsageError, match=r"dataset\.outliers=9 is more than the 8 training points"):
        load("toy2d", train_size=8, outliers=9, split_seed=0)
