"""Networks that are certified and attacked together have the scores that each has by itself."""

from typing import Any

import pytest
import torch
from reference import accuracies_of

from psilon_bench.metrics import stacked_networks
from psilon_bench.metrics.attack import withstands
from psilon_bench.metrics.exact_network import exact_network
from psilon_bench.metrics.intervals import TargetScale, interval_scores, largest_errors
from psilon_bench.metrics.pairwise import pairwise_margins
from psilon_bench.metrics.robustness import robust_accuracies
from psilon_bench.metrics.stacked_networks import members_at_once, stacked_logits
from psilon_bench.models.crelu_resnet import CReLUResNet

KINDS = ("pnet", "plain", "residual", "snet tanh")
RADII = [0.003, 0.1, 1.5]


@pytest.fixture
def unequal(network: Any) -> Any:
    """unequal("pnet", 3): five networks in float64 of other scales, one with a dead unit, one that is constant."""

    def unequal(kind: str, outputs: int) -> list[Any]:
        models: list[Any] = []
        name, _, activation = kind.partition(" ")
        for seed in range(5):
            torch.manual_seed(seed)
            if name == "residual":
                model: Any = CReLUResNet(4, outputs, 6, 2, 1, share=True).double()
            else:
                model = network(name, 4, outputs, 6, 2, activation or "relu")
            with torch.no_grad():
                for key, parameter in model.named_parameters():
                    size = 0.1 if key.endswith("bias") else 0.5 + 0.4 * seed
                    parameter.copy_(size * torch.randn_like(parameter))
                    if seed == 3 and parameter.ndim == 2:
                        parameter[0] = 0
                    if seed == 4:
                        parameter.mul_(parameter.ndim < 2)
            models.append(model)
        return models

    return unequal


def rows_of(nets: list[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Other rows for each network, most of which have the class that it predicts."""
    x = torch.stack([(1 + place) * torch.randn(30, 4).double() for place in range(len(nets))])
    y = torch.stack([net.logits(own).argmax(dim=1) for net, own in zip(nets, x, strict=True)])
    y[:, ::7] = 0
    return x, y


@pytest.mark.sampled(every=2)
@pytest.mark.parametrize("at_once", [1 << 16, 150])
@pytest.mark.parametrize(("kind", "outputs"), [*((kind, 3) for kind in KINDS), ("pnet", 1)])
def test_accuracies_are_those_of_each_by_itself(
    unequal: Any, kind: str, outputs: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At all radii together, too, and in pieces of five pairs of a radius and a row; with weights in one network."""
    monkeypatch.setattr(stacked_networks, "NUMBERS_AT_ONCE", at_once)
    nets = [exact_network(model, "binary" if outputs == 1 else "multiclass") for model in unequal(kind, outputs)]
    x, y = rows_of(nets)
    shares = [None, torch.rand(30).double(), None, None, None]
    together = robust_accuracies(nets, x, y, RADII, "pairwise", 6, shares)
    alone: list[dict[str, Any]] = [{} for _ in nets]
    for place, net in enumerate(nets):
        for radius in RADII:
            alone[place] |= accuracies_of(net, x[place], y[place], [radius], "pairwise", 6, shares[place])
    assert together == alone
    lost = [own[f"attacked_accuracy/{RADII[0]}"] - own[f"attacked_accuracy/{RADII[-1]}"] for own in alone]
    assert max(lost) > 0
    assert len(set(map(float, lost))) > 1


@pytest.mark.parametrize("kind", KINDS[:3])
def test_rows_withstand_together_what_they_withstand_alone(unequal: Any, kind: str) -> None:
    """Row by row against one network at one radius; rows that are not open count as lost, and are not attacked."""
    nets = [exact_network(model, "multiclass") for model in unequal(kind, 3)]
    x, y = rows_of(nets)
    radius = torch.linspace(0.01, 1.5, 30, dtype=torch.float64)[:, None]
    still_open = torch.rand(5, 30) > 0.2
    together = withstands(stacked_logits(nets), x, y, radius, 6, still_open)
    for place, net in enumerate(nets):
        for row in range(0, 30, 3):
            one = slice(row, row + 1)
            alone = withstands(net.logits, x[place, one], y[place, one], radius[row].item(), 6)
            assert together[place, row] == (alone.item() and still_open[place, row])
    assert 0 < together.sum() < still_open.sum()


def test_a_certified_row_counts_as_one_that_withstands(unequal: Any) -> None:
    """An attack on it would be in vain; where nothing else is left the accuracies agree."""
    nets = [exact_network(model, "multiclass") for model in unequal("pnet", 3)]
    x, y = rows_of(nets)
    for net, own, right in zip(nets, x, y, strict=True):
        held = (pairwise_margins(net, own, right, 1e-9) > 0).all(dim=1)
        assert accuracies_of(net, own, right, [1e-9], "pairwise", 3)["attacked_accuracy/1e-09"] >= held.double().mean()


@pytest.mark.parametrize("kind", ["pnet", *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS[1:])])
def test_errors_of_regressions_are_those_of_each_by_itself(unequal: Any, kind: str) -> None:
    """With other units of the target in each; the worst error is that of single rows."""
    nets = [exact_network(model, "regression") for model in unequal(kind, 1)]
    x, y = torch.randn(5, 8, 4).double(), torch.randn(5, 8, 1).double()
    targets = [TargetScale(place, 1.0 + place) for place in range(5)]
    together = interval_scores(nets, x, y, RADII, "pairwise", 4, targets, [None] * 5)
    for place, net in enumerate(nets):
        one = slice(place, place + 1)
        alone = interval_scores([net], x[one], y[one], RADII, "pairwise", 4, targets[one], [None])
        torch.testing.assert_close(together[place], alone[0], rtol=1e-12, atol=0)
        for radius in RADII:
            single = torch.full((1, 1), radius, dtype=torch.float64)
            rows = zip(x[place], y[place], strict=True)
            found = [largest_errors(stacked_logits([net]), a[None, None], b[None, None], single, 4) for a, b in rows]
            worst = targets[place].scale * torch.stack(found).mean()
            torch.testing.assert_close(together[place][f"attacked_mae/{radius:g}"], worst, rtol=1e-12, atol=0)


def test_the_networks_of_a_stack_are_not_mixed_up(unequal: Any) -> None:
    """Each has its logits at its points, smooth ones by themselves."""
    for kind in KINDS:
        nets = [exact_network(model, "multiclass") for model in unequal(kind, 3)]
        x = torch.randn(5, 7, 4).double()
        expected = torch.stack([net.logits(own) for net, own in zip(nets, x, strict=True)])
        torch.testing.assert_close(stacked_logits(nets)(x), expected)


def test_large_networks_and_many_rows_go_one_by_one(unequal: Any) -> None:
    """Small ones together: no activation behind a layer has more than 65,536 numbers."""
    (model, *_) = unequal("plain", 3)
    assert members_at_once(model, 30, RADII) == (1 << 16) // (30 * 3 * 6)
    assert members_at_once(model, 10**6, RADII) == 1
    assert members_at_once(torch.nn.Linear(2000, 100), 1, []) == 1


def test_a_logit_of_class_0_comes_to_the_outputs_of_two_classes(unequal: Any) -> None:
    """It is 0 and reads nothing; what the other is off stays the same, and nothing is added twice."""
    for model in unequal("pnet", 1):
        net = exact_network(model.float(), "regression")
        two, x = net.with_classes("binary"), torch.randn(5, 4).double()
        assert two.layers[:-1] == net.layers[:-1]
        assert torch.equal(two.logits(x)[:, 1:], net.logits(x))
        assert not two.logits(x)[:, 0].any()
        torch.testing.assert_close(two.layers[-1].absolute[1:], net.layers[-1].absolute)
        with pytest.raises(AssertionError):
            two.with_classes("binary")
