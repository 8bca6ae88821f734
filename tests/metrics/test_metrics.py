"""Sparsity by hand, scores against scikit-learn, and what a network reports of itself."""

import math
from typing import Any

import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from torch import nn

from psilon_bench.metrics import network as of_network
from psilon_bench.metrics import prediction, sparsity
from psilon_bench.models.mlp import MLP


@pytest.mark.parametrize(
    ("vector", "expected"),
    [
        ([1, 1, 1, 1], 0),
        ([-2, 2, -2], 0),
        ([0, 0, -5, 0], 3 / 4),
        ([7], 0),
        ([0, 0, 0], 1),
        ([3, 1, 0, 0], 1 - math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25)) / 4),
        ([1, 1, 0, 0], 1 / 2),
    ],
)
def test_near_sparsity_by_hand(vector: Any, expected: Any) -> None:
    """Uniform 0, one-hot 1 - 1/d, half of the entries 1/2, nothing at all 1; signs do not matter."""
    assert sparsity.near_sparsity(torch.tensor([vector]).double()).item() == pytest.approx(expected, abs=1e-15)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.floats(-1e6, 1e6).map(lambda x: x if abs(x) > 1e-290 else 0.0), min_size=1, max_size=8),
    st.floats(1e-6, 1e6),
)
def test_near_sparsity_is_the_definition_and_knows_no_scale(row: Any, scale: Any) -> None:
    """1 - exp(H(|v| / ||v||_1)) / d, in [0, 1 - 1/d] unless v = 0, the same for c v."""
    vector = torch.tensor([row], dtype=torch.float64)
    own = sparsity.near_sparsity(vector).item()
    assert own == pytest.approx(reference.near_sparsity(row), abs=1e-9)
    assert sparsity.near_sparsity(-scale * vector).item() == pytest.approx(own, abs=1e-9)
    assert -1e-12 <= own <= (1 - 1 / len(row) + 1e-12 if any(row) else 1)


def test_near_sparsity_of_a_network_is_the_mean_over_rows() -> None:
    """Rows of all layers count alike, however long and however many: not the mean of the layers' means."""
    weights = [torch.eye(3).double(), torch.ones(1, 3).double(), torch.zeros(2, 1).double()]
    mean = sparsity.weight_vectors_near_sparsity(weights).item()
    assert mean == pytest.approx((3 * (2 / 3) + 0 + 2 * 1) / 6, rel=1e-14)


def test_near_sparsity_at_zeros_and_almost() -> None:
    """Exact zeros, a row of zeros and a row of almost nothing give finite numbers."""
    weights = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1e-300, 1e-300]], dtype=torch.float64)
    assert sparsity.near_sparsity(weights).tolist() == pytest.approx([1, 0.5, 0], abs=1e-12)


def test_zeros_are_counted_exactly(network: Any) -> None:
    """Planted zeros in the weights, not in the biases; a tiny weight is no zero, a negative zero is one."""
    model = network("plain", 5, 3, hidden=4, depth=1)
    with torch.no_grad():
        model.layers[0].weight[0, :] = 0
        model.layers[0].weight[1, 0] = 1e-300
        model.layers[1].weight[2, 1] = -0.0
        model.layers[0].bias.zero_()
    weights = model.weights()
    assert sparsity.num_nonzero(weights).item() == 4 * 5 + 3 * 4 - 6
    assert sparsity.weight_sparsity(weights).item() == pytest.approx(6 / 32)


def test_a_dead_direction_is_zeros(network: Any) -> None:
    """v_j = 0 of a weight-normalised layer counts as a row of zeros."""
    model = network("pnet", 5, 3, hidden=4, depth=1)
    with torch.no_grad():
        model.layers[0].v[2] = 0
    assert sparsity.num_nonzero(model.weights()).item() == 3 * 5 + 3 * 4


def test_scores_of_classes_are_scikit_learns() -> None:
    """Cross-entropy in nats and accuracy."""
    torch.manual_seed(0)
    logits, y = 3 * torch.randn(41, 4).double(), torch.randint(4, (41,))
    scores = prediction.scores("multiclass", logits, y)
    assert scores["loss"].item() == pytest.approx(metrics.log_loss(y, logits.softmax(1)), rel=1e-12)
    assert scores["accuracy"].item() == pytest.approx(metrics.accuracy_score(y, logits.argmax(1)))


def test_scores_of_two_classes_are_scikit_learns() -> None:
    """Cross-entropy of one logit; at a logit of exactly 0 the class is 0."""
    torch.manual_seed(0)
    logits, y = 3 * torch.randn(41, 1).double(), (torch.rand(41, 1) < 0.3).double()
    logits[:2], y[:2] = 0, torch.tensor([[0.0], [1.0]])
    scores = prediction.scores("binary", logits, y)
    assert scores["loss"].item() == pytest.approx(metrics.log_loss(y, logits.sigmoid()), rel=1e-12)
    assert scores["accuracy"].item() == pytest.approx(metrics.accuracy_score(y, logits > 0))
    assert prediction.accuracy("binary", logits[:2], y[:2]).item() == 0.5


def test_scores_of_regression() -> None:
    """Training minimises the squared error; what is shown is its root; there is no accuracy."""
    torch.manual_seed(0)
    guess, y = torch.randn(37, 1).double(), torch.randn(37, 1).double()
    assert prediction.loss("regression", guess, y).item() == pytest.approx(metrics.mean_squared_error(y, guess))
    scores = prediction.scores("regression", guess, y)
    assert scores.keys() == {"loss"}
    assert scores["loss"].item() == pytest.approx(metrics.root_mean_squared_error(y, guess))


def test_what_a_network_reports(network: Any) -> None:
    """Curves and final numbers of a P-Net; the number of parameters by hand."""
    model = network("pnet", 5, 3, hidden=4, depth=2)
    curve = {"path_norm", "near_sparsity"}
    assert of_network.curve_measures(model, 1e-3).keys() == curve
    final = of_network.final_measures(model, 1e-3)
    counts = {"num_nonzero", "weight_sparsity", "weight_sparsity/1e-13"}
    assert final.keys() == curve | counts | {"lipschitz_bound"} | {f"weight_sparsity/layer{k}" for k in (1, 2, 3)}
    torch.testing.assert_close(final["lipschitz_bound"], model.path_norm())
    assert of_network.num_parameters(model) == (4 * 5 + 1 + 4) + (4 * 4 + 1 + 4) + (3 * 4 + 3 + 3)
    assert of_network.num_parameters(MLP(5, 3, 4, 1, None, False, "relu", "orthogonal")) == (4 * 5 + 4) + (3 * 4 + 3)
    with torch.no_grad():
        model.layers[1].v[:2] = 0
    assert of_network.final_measures(model, 1e-3)["weight_sparsity/layer2"] == 0.5


def test_a_network_that_offers_nothing_reports_nothing() -> None:
    """Only what a network offers is measured."""
    assert of_network.final_measures(nn.Linear(2, 1), 1e-3) == {}


def test_negligible_weights_by_hand() -> None:
    """Up to 1e-13 in size, zeros among them, of both signs and over all layers."""
    weights = [torch.tensor([[0.0, 1e-13, -2e-13]]).double(), torch.tensor([[-9e-14], [3.0]]).double()]
    assert sparsity.negligible(weights).item() == pytest.approx(3 / 5)
