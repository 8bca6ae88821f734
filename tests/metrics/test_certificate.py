"""Certified accuracy: rows counted keep their class under the worst change found; the margin by hand."""

import math
from typing import Any

import pytest
import torch

from psilon_bench.metrics.certificate import certified_accuracy, margin
from psilon_bench.metrics.lipschitz import entries_sum, jacobians, spectral_norm


def test_margins_by_hand() -> None:
    """Binary: the logit with the sign of the class. Classes: the right logit less the largest other one."""
    logits, y = torch.tensor([[2.0], [-3.0], [0.5]]), torch.tensor([[1.0], [1.0], [0.0]])
    assert margin("binary", logits, y).tolist() == [2.0, -3.0, -0.5]
    logits = torch.tensor([[1.0, 4.0, 2.5], [1.0, 4.0, 2.5], [-1.0, -2.0, -9.0]])
    assert margin("multiclass", logits, torch.tensor([1, 2, 0])).tolist() == [1.5, -1.5, 1.0]


def test_what_is_certified_by_hand() -> None:
    """A row counts where its margin is above bound x radius; at radius 0 that is the accuracy."""
    logits, y, bound = torch.tensor([[2.0], [0.5], [-1.0]]), torch.ones(3, 1), torch.tensor(4.0)
    fractions = [certified_accuracy("binary", logits, y, bound, r).item() for r in (0.0, 0.124, 0.126, 0.49, 0.51)]
    assert fractions == pytest.approx([2 / 3, 2 / 3, 1 / 3, 1 / 3, 0])


@pytest.mark.parametrize(("kind", "outputs"), [("binary", 1), ("multiclass", 3)])
@pytest.mark.parametrize("net", ["pnet", "snet", "plain"])
def test_no_attack_within_the_radius_changes_a_certified_row(network: Any, kind: Any, outputs: Any, net: Any) -> None:
    """Random corners of the L_inf ball, and the corner against the gradient, leave the prediction as it is."""
    torch.manual_seed(1)
    model = network(net, 4, outputs, hidden=6, depth=2)
    x = torch.randn(300, 4).double()
    logits = model(x)
    y = logits.argmax(dim=1) if kind == "multiclass" else (logits > 0).double()
    bound, held = model.lipschitz_bound(), margin(kind, logits, y)
    radius = (held.median() / bound).item()
    certified = held > bound * radius
    assert certified_accuracy(kind, logits, y, bound, radius).item() == pytest.approx(certified.double().mean().item())
    assert 0.3 < certified.double().mean() < 0.7
    slopes = torch.autograd.grad(margin(kind, model(x.requires_grad_()), y).sum(), x)[0]
    for direction in [-slopes.sign(), *(torch.randn(300, 4).double().sign() for _ in range(50))]:
        assert (margin(kind, model(x.detach() + radius * direction), y)[certified] > 0).all()


def test_the_certificate_is_above_the_steepest_point(network: Any) -> None:
    """Spectral norm <= sum of |J_ij| <= lipschitz_bound; for one output the sum is the L_inf -> L1 norm itself."""
    for seed in range(5):
        torch.manual_seed(seed)
        model, x = network("pnet", 4, 3, hidden=5), torch.randn(50, 4).double()
        own = jacobians(model, x)
        assert own.shape == (50, 3, 4)
        assert (spectral_norm(own) <= entries_sum(own) + 1e-12).all()
        assert (entries_sum(own) <= model.lipschitz_bound() * (1 + 1e-12)).all()
    linear = torch.nn.Linear(4, 1).double()
    own = entries_sum(jacobians(linear, torch.randn(3, 4).double()))
    assert own.tolist() == pytest.approx([linear.weight.abs().sum().item()] * 3)
    assert math.isnan(spectral_norm(torch.full((1, 2, 2), math.inf)).item())
