"""New rows beside those of a fit: columns by name or by position, numbers that stay finite, and rows of no weight."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from test_estimators import TINY, classes, rows

from psilon_bench.errors import UsageError
from psilon_bench.estimators import PNetClassifier, PNetClassifierCV

NAMED = pytest.mark.filterwarnings("ignore:X (does not have valid feature names|has feature names)")


@NAMED
def test_columns_without_names_are_matched_by_position() -> None:
    """An array beside a frame, in both directions; numbers as names are a frame's order, which must stay."""
    frame, target = rows()[["age", "pay"]], classes(rows())
    numbered = frame.set_axis([7, 3], axis=1)
    named, plain, by_number = (PNetClassifier(**TINY).fit(X, target) for X in (frame, frame.to_numpy(), numbered))
    right = named.predict_proba(frame)
    for model in (named, plain):
        for X in (frame.to_numpy(), frame, frame.set_axis([0, 1], axis=1)):
            assert np.array_equal(model.predict_proba(X), right)
    assert np.array_equal(by_number.predict_proba(numbered), right)
    assert np.array_equal(by_number.predict_proba(frame.to_numpy()), right)
    for model, X, names in (
        (by_number, numbered[[3, 7]], "7, 3, but are 3, 7"),
        (by_number, frame.set_axis([0, 1], axis=1), "7, 3, but are 0, 1"),
        (plain, frame.set_axis([1, 0], axis=1), "0, 1, but are 1, 0"),
        (named, frame.set_axis([1, 0], axis=1), "0, 1, but are 1, 0"),
    ):
        with pytest.raises(UsageError, match=f"^The columns of X must be those of fit in the same order, {names}. "):
            model.predict(X)


@pytest.mark.parametrize("model", [PNetClassifier(**TINY), PNetClassifierCV(**TINY, cv=2, lams=(1e-3,))])
def test_a_class_of_weight_0_is_none(model: Any) -> None:
    """The fit is that of the rows that count, with classes in the middle, before and behind the others."""
    frame, counts = rows(), np.arange(60) % 5 > 0
    for odd in ("a", "i", "z"):
        target = np.where(counts, np.where(np.arange(60) % 2, "high", "low"), odd)
        if isinstance(model, PNetClassifierCV):
            model.cv = [(np.arange(0, 40), np.arange(40, 60)), (np.arange(20, 60), np.arange(20))]
        weighted = clone(model).fit(frame, target, sample_weight=counts.astype(float))
        assert weighted.classes_.tolist() == ["high", "low"]
        assert weighted.predict_proba(frame).shape == (60, 2)
        if isinstance(model, PNetClassifier):
            left = clone(model).fit(frame[counts], target[counts])
            torch.testing.assert_close(weighted._logits(frame), left._logits(frame), rtol=0, atol=1e-10)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_inputs_and_outputs_are_finite(precision: Any) -> None:
    """A number that float32 does not hold, and one that overflows in the network, name the column and the row."""
    frame = rows()[["age", "pay"]]
    model = PNetClassifier(**TINY | {"precision": precision}).fit(frame, classes(rows()))
    for value, told in ((1e300, r"1e\+300"), (-1.7e308, r"-1\.7e\+308")):
        with pytest.raises(UsageError, match=rf"^Numbers must stay finite .* 'pay' holds {told} in row 8\. Correct"):
            model.predict_proba(frame.assign(pay=np.where(np.arange(60) == 7, value, 1.0)))
    with torch.no_grad():
        for parameter in model.network_.parameters():
            parameter.mul_(1e30 if precision == "float32" else 1e290)
    with pytest.raises(UsageError, match=r"^The outputs of a network must be finite, .* 'pay' holds 1e\+37 in row 1\."):
        model.predict(frame.head(1).assign(pay=1e37))
