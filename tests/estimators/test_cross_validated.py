"""The choice of lambda by one stack is the choice of a slow loop over lambdas and folds."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.model_selection import KFold
from test_estimators import classes, quantity, rows

from psilon_bench.errors import UsageError
from psilon_bench.estimators import PNetClassifier, PNetClassifierCV, PNetRegressor, PNetRegressorCV

TINY: dict[str, Any] = {"hidden": 4, "depth": 1, "epochs": 6, "precision": "float64", "device": "cpu", "lr": 0.1}
LAMS = (1e-1, 1e-3, 3.0)


@pytest.mark.sampled(every=2)
@pytest.mark.parametrize(("num_batches", "weighted"), [(1, False), (3, True)])
@pytest.mark.parametrize("kind", ["classes", "regression"])
def test_the_choice_is_that_of_a_slow_loop(kind: str, num_batches: int, weighted: bool) -> None:
    """Each loss is that of a lone fit on the rows of the fold, of uneven folds too; the refit is a lone fit."""
    target = classes(rows(44)) if kind == "classes" else quantity(rows(44))
    frame = rows(44).drop(columns="colour")
    weights = 1.0 + np.arange(44) % 3 if weighted else np.ones(44)
    alone, chooser = (PNetClassifier, PNetClassifierCV) if kind == "classes" else (PNetRegressor, PNetRegressorCV)
    settings = TINY | {"num_batches": num_batches}
    given = weights if weighted else None
    folds = KFold(3, shuffle=True, random_state=1)
    model = chooser(**settings, lams=LAMS, cv=folds).fit(frame, target, sample_weight=given)
    expected = np.empty((3, 3))
    for i, lam in enumerate(sorted(LAMS)):
        for k, (train, val) in enumerate(folds.split(frame)):
            one = alone(**settings, lam=lam)
            one.fit(frame.iloc[train], target[train], sample_weight=None if given is None else given[train])
            expected[i, k] = loss(one, frame.iloc[val], target[val], weights[val])
    np.testing.assert_allclose(model.cv_losses_, expected, rtol=1e-6)
    assert model.lams_.tolist() == sorted(LAMS)
    assert model.lam_ == sorted(LAMS)[expected.mean(axis=1).argmin()]
    np.testing.assert_allclose(model.cv_mean_, expected.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(model.cv_se_, expected.std(axis=1, ddof=1) / np.sqrt(3), rtol=1e-5)
    refit = alone(**settings, lam=model.lam_).fit(frame, target, sample_weight=given)
    assert np.array_equal(refit._logits(frame).numpy(), model._logits(frame).numpy())


def loss(model: Any, frame: Any, target: Any, weights: Any) -> float:
    """Cross-entropy, or squared error, by scikit-learn."""
    if isinstance(model, PNetRegressor):
        return float(mean_squared_error(target, model.predict(frame), sample_weight=weights))
    return float(log_loss(target, model.predict_proba(frame), sample_weight=weights, labels=model.classes_))


def test_a_level_that_some_folds_lack_makes_stacks_of_their_own() -> None:
    """A fold whose training rows lack a level has fewer inputs; its networks are those of lone fits all the same."""
    frame = rows(30)
    frame["colour"] = np.where(np.arange(30) < 10, "rare", frame["colour"])
    model = PNetClassifierCV(**TINY, lams=(1e-2,), cv=KFold(3)).fit(frame, classes(frame))
    lone = PNetClassifier(**TINY, lam=1e-2).fit(frame[10:], classes(frame)[10:])
    assert model.cv_losses_[0, 0] == pytest.approx(loss(lone, frame[:10], classes(frame)[:10], None), rel=1e-6)


def test_nothing_to_choose_from_is_one_line() -> None:
    frame = rows(30)
    wrong: tuple[Any, ...] = ((), 1e-3, "ab", None, (1.0, -2.0), (1.0, np.nan), (np.inf,), [[1.0]])
    for lams in wrong:
        with pytest.raises(UsageError, match=r"^lams must be a sequence of finite numbers .* Set lams=\(1e-3, 1e-2\)"):
            PNetRegressorCV(**TINY, lams=lams, cv=2).fit(frame, quantity(frame))
    with pytest.raises(UsageError, match=r"^PNetRegressorCV diverged in some fold with each of lams. Lower lr.$"):
        PNetRegressorCV(**TINY | {"lr": 1e300}, lams=(1.0,), cv=2).fit(frame, quantity(frame))
