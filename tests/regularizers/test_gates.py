"""Weights as products of factors: the same penalties as their classical forms, and plain networks at the end."""

import copy
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import Lasso
from torch import Tensor, nn

from psilon_bench.errors import UsageError
from psilon_bench.models.linear import Linear
from psilon_bench.models.mlp import MLP
from psilon_bench.records.networks import load
from psilon_bench.regularizers.factorized import Factorized
from psilon_bench.regularizers.gated import Gated
from psilon_bench.regularizers.gates import GatedWeight, decay, gate, gated_weights, members_of
from psilon_bench.regularizers.group_lasso import GroupLasso
from psilon_bench.run.checks import prepare
from psilon_bench.training.engines import build_trainer
from psilon_bench.training.stack import Stack

COLUMNS = ["a", "b", "a", "c", "b", "a"]  # what six inputs are made of
GROUPINGS: Any = ["entries", "rows", "columns", "inputs"]


def linear_data() -> tuple[Tensor, Tensor]:
    """40 rows of six uneven inputs, of which three matter."""
    own = torch.Generator().manual_seed(0)
    x = torch.randn(40, 6, generator=own).double() * torch.tensor([1.0, 0.3, 2.0, 1.0, 0.7, 1.5])
    x[:, 1] += 0.8 * x[:, 0]
    return x, x @ torch.tensor([1.0, 0.0, -0.5, 0.0, 2.0, 0.0]).double() + 0.3 * torch.randn(40, generator=own).double()


def fitted(grouping: Any, lam: float, factors: int = 2) -> Tensor:
    """w of a linear network without a bias, where mean squared error + lam * decay is least."""
    x, y = linear_data()
    layer = Linear(6, 1).double()
    layer.bias.requires_grad_(False)
    gate(layer, "weight", factors, grouping, members_of(COLUMNS))
    own = [parameter for parameter in layer.parameters() if parameter.requires_grad]
    optimizer = torch.optim.LBFGS(own, 1, 2000, 4000, 1e-12, 1e-16, 30, "strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        objective = (layer(x).squeeze(1) - y).square().mean() + lam * decay(layer)
        objective.backward()
        return objective

    optimizer.step(closure)
    return layer.weight.detach().squeeze(0)


@pytest.mark.sampled(every=2)
@pytest.mark.unchecked_shapes
@pytest.mark.parametrize("lam", [0.3, 0.8])
def test_two_factors_are_the_lasso(lam: float) -> None:
    """On a linear model w is that of scikit-learn's Lasso, whose loss has a factor 1/2, exact zeros included."""
    w, (x, y) = fitted("entries", lam), linear_data()
    expected = Lasso(alpha=lam / 2, fit_intercept=False, tol=1e-12, max_iter=100_000).fit(x.numpy(), y.numpy()).coef_
    assert 1 < (expected == 0).sum() < 5
    np.testing.assert_allclose(w.numpy(), expected, atol=1e-4)


@pytest.mark.unchecked_shapes
def test_gates_of_inputs_are_the_group_lasso() -> None:
    """On a linear model w is that of proximal gradient descent with the columns of the table as groups."""
    x, y = linear_data()
    w, lam, slow = fitted("inputs", 0.9), 0.9, torch.zeros(6).double()
    groups = [[place for place, name in enumerate(COLUMNS) if name == column] for column in "abc"]
    for _ in range(3000):
        slow = slow - 0.05 * 2 * x.T @ (x @ slow - y) / len(y)
        for group in groups:
            slow[group] = slow[group] * (1 - 0.05 * lam / slow[group].norm().clamp_min(1e-30)).clamp_min(0)
    assert [bool(slow[group].any()) for group in groups] == [True, True, False]
    torch.testing.assert_close(w, slow, atol=1e-4, rtol=0)


def norms_by_hand(grouping: Any, weight: Tensor) -> list[Tensor]:
    """The 2-norm of each group, one by one."""
    if grouping == "entries":
        return [entry.abs() for entry in weight.flatten()]
    if grouping == "rows":
        return [row.norm() for row in weight]
    names = COLUMNS if grouping == "inputs" else [*range(6)]
    return [
        weight[:, [place for place, own in enumerate(names) if own == name]].norm() for name in dict.fromkeys(names)
    ]


@pytest.mark.sampled(every=3)
@pytest.mark.parametrize("grouping", GROUPINGS)
@pytest.mark.parametrize("factors", [2, 3, 4])
@pytest.mark.parametrize("kernel", [(), (3, 2)])
def test_the_decay_is_the_penalty_where_factors_are_balanced(grouping: Any, factors: int, kernel: Any) -> None:
    """There it is sum ||w_g||^(2/D), and nowhere less; the product at the start is the weight."""
    weight = torch.randn(4, 6, *kernel).double()
    weight[0, 3] = 0
    weight[1] = 0
    gates = GatedWeight(factors, grouping, members_of(COLUMNS))
    start = gates.right_inverse(weight)
    torch.testing.assert_close(gates(*start), weight)
    penalty = sum(norm ** (2 / factors) for norm in norms_by_hand(grouping, weight))
    norms = gates.norms(weight)
    root = norms ** (1 / factors)
    divisor = gates.spread(torch.where(root > 0, root, 1), weight) ** (factors - 1)
    balanced = (weight / divisor, *[root] * (factors - 1))
    torch.testing.assert_close(gates(*balanced), weight)
    squares = sum(factor.square().sum() for factor in balanced) / factors
    torch.testing.assert_close(squares, penalty)
    for _ in range(20):
        scales = [torch.randn_like(root).exp() for _ in range(factors - 1)]
        others = [factor * scale for factor, scale in zip(balanced[1:], scales, strict=True)]
        whole = torch.stack(scales).prod(dim=0)
        first = balanced[0] / gates.spread(whole, weight)
        torch.testing.assert_close(gates(first, *others), weight)
        assert (first.square().sum() + sum(o.square().sum() for o in others)) / factors >= penalty


def test_the_start_is_matched(network: Any) -> None:
    """Factors have one root mean square, that of the weight to the power 1/D: D = 4 does not start near 0."""
    model = network("plain", 6, 2, hidden=50)
    for _, gates, factors in gated_weights(Factorized(4, 0.0).trained_form(model, COLUMNS)):
        sizes = [factor.square().mean().sqrt() for factor in factors[1:]]
        expected = gates(*factors).square().mean().sqrt() ** 0.25
        torch.testing.assert_close(torch.stack(sizes), expected.expand(3))
        spread = factors[0].square().mean().sqrt()
        torch.testing.assert_close(spread, expected)


@pytest.mark.parametrize("grouping", ["entries", "inputs"])
def test_the_imbalance_falls_exponentially(grouping: Any) -> None:
    """||omega_g||^2 - gamma_g^2 falls as exp(-4 lam t / D) along the gradient flow, whatever the loss is."""
    x, y = linear_data()
    layer, lam, rate, steps, factors = Linear(6, 1).double(), 0.7, 1e-3, 400, 3
    gate(layer, "weight", factors, grouping, members_of(COLUMNS))

    def imbalances() -> Tensor:
        ((_, gates, own),) = gated_weights(layer)
        return torch.cat([gates.norms(own[0]).flatten() ** 2 - own[k].flatten() ** 2 for k in (1, 2)]).detach()

    before = imbalances()
    parameters: list[Any] = list(layer.parameters())
    for _ in range(steps):
        objective = (layer(x).squeeze(1) - y).square().mean() + lam * decay(layer)
        with torch.no_grad():
            for parameter, slope in zip(parameters, torch.autograd.grad(objective, parameters), strict=True):
                parameter -= rate * slope
    fall = np.exp(-4 * lam * rate * steps / factors)
    torch.testing.assert_close(imbalances(), before * fall, rtol=5e-3, atol=1e-3)


@pytest.mark.parametrize("groups", ["units", "inputs"])
def test_balanced_gates_have_the_penalty_of_the_group_lasso(network: Any, groups: Any) -> None:
    """The same groups: the decay of balanced factors is group_lasso's penalty of the products."""
    model = network("plain", 6, 2, hidden=5)
    lasso, gated = GroupLasso(groups), Gated(groups, 2, 0.0)
    expected = lasso.penalty(lasso.trained_form(model, COLUMNS))
    trained = gated.trained_form(model, COLUMNS)
    total = sum(gates.norms(gates(*factors)).sum() for _, gates, factors in gated_weights(trained))
    if groups == "inputs":
        total = total + sum(weight.square().sum() for weight in model.weights()[1:]) / 2
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(trained(torch.randn(3, 6).double()).shape, torch.Size([3, 2]))


@pytest.mark.parametrize("regularizer", [GroupLasso("inputs"), Gated("inputs", 3, 0.0), Factorized(2, 0.0)])
def test_members_of_a_stack_have_their_own_groups(network: Any, regularizer: Any) -> None:
    """Two networks whose inputs are made of other columns: penalties, outputs and what is saved are those alone."""
    models, columns = [network("plain", 6, 2) for _ in range(2)], [COLUMNS, ["a", "a", "b", "b", "c", "d"]]
    trained = [regularizer.trained_form(model, own) for model, own in zip(models, columns, strict=True)]
    stack, x = Stack(trained), torch.randn(5, 6).double()
    together = stack.map(regularizer.penalty), stack.map(lambda model, x: model(x), x, in_dims=(None,))
    for member, one in enumerate(trained):
        torch.testing.assert_close(together[0][member], regularizer.penalty(one), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(together[1][member], one(x), rtol=1e-12, atol=1e-12)
        saved = regularizer.saved_form(stack.network(member), models[member])
        torch.testing.assert_close(saved(x), one(x), rtol=1e-12, atol=1e-12)
    assert not torch.equal(*together[0])


@pytest.mark.parametrize("regularizer", [Factorized(3, 0.2), Gated("units", 2, 0.9), Gated("inputs", 4, 2.0)])
def test_what_is_saved_is_the_product(network: Any, regularizer: Any) -> None:
    """Plain weights, groups below the threshold at exactly 0, the others as they were; the model stays as it is."""
    model: MLP = network("plain", 6, 2, hidden=5)
    x, before = torch.randn(9, 6).double(), copy.deepcopy(model.state_dict())
    trained: Any = regularizer.trained_form(model, COLUMNS)
    torch.testing.assert_close(trained(x), model(x))
    saved: Any = regularizer.saved_form(trained, model)
    assert saved.state_dict().keys() == before.keys()
    gone = 0
    for own, old in zip(saved.weights(), model.weights(), strict=True):
        zero = own == 0
        gone += int(zero.sum())
        torch.testing.assert_close(own[~zero], old[~zero])
    sizes = torch.cat([gates.norms(gates(*f)).flatten() for _, gates, f in gated_weights(trained)])
    assert 0 < (sizes <= regularizer.threshold).sum() < len(sizes)
    assert gone >= (sizes[sizes > 0] <= regularizer.threshold).sum() > 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


RUN = ("model=mlp", "model.hidden=8", "dataset=wine", "optimizer.lr=0.02", "tracking=none")
ROADS = [("reg=factorized", "reg.factors=4"), ("reg=gated",), ("reg=gated", "reg.groups=inputs")]


@pytest.mark.sampled(every=3)
@pytest.mark.parametrize("road", ROADS)
def test_the_record_has_the_product(finished: Any, config: Any, road: Any) -> None:
    """model.pt loads as any other, has exact zeros and the recorded loss; with a pruner, too."""
    run = (*RUN, *road, "reg.lam=0.05", "trainer.epochs=60", "reg.threshold=0.01")
    record = finished(*run)
    task, network = prepare(config(*run)).task, load(record.folder).network
    loss = nn.functional.cross_entropy(network(task.test.x.double()), task.test.y).item()
    metrics = record.run["metrics"]
    assert metrics["test/loss"] == pytest.approx(loss, rel=1e-6)
    assert metrics["weight_sparsity"] > 0.03
    assert metrics["test/loss"] < metrics["constant/test/loss"]
    assert metrics["num_parameters"] == sum(parameter.numel() for parameter in network.parameters())
    pruned = finished(*run, "pruner=magnitude", "trainer.prune_then_finetune=2", "trainer.epochs=5")
    assert pruned.run["metrics"]["weight_sparsity"] >= 0.9
    assert load(pruned.folder, "pruned").network.state_dict().keys() == network.state_dict().keys()


@pytest.mark.parametrize("road", ROADS)
def test_factors_go_on_from_a_checkpoint(config: Any, road: Any) -> None:
    """A run that was stopped after two epochs ends like one that was not, bit for bit."""
    members = [prepare(config(*RUN, *road, "trainer.epochs=5", f"reg.lam={lam}")) for lam in (0.01, 0.1)]
    whole, first = build_trainer(members), build_trainer(members)
    whole.run(lambda *_: None)
    first.advance(2, lambda *_: None, lambda _: None, lambda: None)
    second = build_trainer(members)
    second.load_state(copy.deepcopy(first.state()))
    second.run(lambda *_: None)
    for trainer in (whole, second):
        trainer.select()
    for name, value in whole.stack.tensors.items():
        assert torch.equal(value, second.stack.tensors[name])


@pytest.mark.slow
def test_inputs_of_one_column_are_one_group(finished: Any, tmp_path: Any) -> None:
    """Levels of a category, and a number with its indicator, stay or go together; they are counted as columns."""
    draw = np.random.default_rng(0)
    table = pd.DataFrame({"good": draw.normal(size=300), "noise": draw.normal(size=300)})
    table["kind"] = draw.choice(["p", "q", "r", "s"], 300)
    table["nothing"] = draw.choice(["u", "v", "w"], 300)
    table["y"] = 2 * table["good"] + 2 * (table["kind"] == "q") + 0.1 * draw.normal(size=300)
    table.loc[::7, "good"] = None
    table.loc[::5, "noise"] = None
    table.to_csv(tmp_path / "own.csv", index=False)
    data = ("dataset=table", f"dataset.path={tmp_path}/own.csv", "dataset.target=y", "model=mlp", "model.hidden=8")
    tail = ("trainer.epochs=200", "reg.lam=0.4", "optimizer.lr=0.02", "scheduler=onecycle")
    run = finished(*data, "reg=gated", "reg.groups=inputs", *tail).run
    assert run["inputs_kept"] == ["good", "kind"]
    assert run["metrics"]["num_columns"] == 2
    assert run["metrics"]["num_inputs"] == 2 + 4


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("reg=factorized", "model=pnet"), r"reg=factorized does not fit model=pnet: it shrinks single weights"),
        (("reg=gated", "model=snet"), r"reg=gated does not fit model=snet: it shrinks single weights, and the direct"),
        (
            ("reg=factorized", "reg.factors=1", "model=mlp"),
            r"reg\.factors=1 is not valid: it should be greater than or eq",
        ),
        (
            ("reg=gated", "reg.groups=layers", "model=mlp"),
            r"reg\.groups='layers' is not valid: it should be 'units' or 'inputs'",
        ),
        (
            ("reg=factorized", "model=mlp_factorized", "pruner=units_during"),
            r"pruner=units_during changes weights after each step, and reg=factorized trains factors in their place",
        ),
    ],
)
def test_what_does_not_fit_is_refused(config: Any, overrides: Any, words: str) -> None:
    """One line each, before anything is written."""
    with pytest.raises(UsageError, match=words) as caught:
        prepare(config(*overrides))
    assert "\n" not in str(caught.value)


def test_shared_weights_and_convolutions_are_refused(config: Any) -> None:
    """Factors would untie what modules share; a convolution reads no columns."""
    from psilon_bench.models.vgg import VGG

    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    with pytest.raises(UsageError, match="it would untie the weights that Sequential shares"):
        Factorized(2, 0.0).check(tied)
    with pytest.raises(UsageError, match="it factorises the weights of layers, and Linear holds weights itself"):
        Factorized(2, 0.0).check(nn.Linear(2, 2))
    for regularizer in (GroupLasso("inputs"), Gated("inputs", 2, 0.0)):
        with pytest.raises(UsageError, match=r"reg\.groups=inputs needs a first layer that reads columns"):
            regularizer.check(VGG(2, (1, 4, 4), [[2, 2]]))
