"""What a network offers is what its class says: names of attributes mean nothing, and every promise has its shape."""

import inspect
from typing import Any, get_args

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from user_networks import Plain

from psilon_bench.config.components import locate
from psilon_bench.config.options import options
from psilon_bench.config.schema import ComponentSection, ModelSection
from psilon_bench.data.task import Kind, Split
from psilon_bench.errors import UsageError
from psilon_bench.metrics.network import final_measures, num_parameters
from psilon_bench.models import offers
from psilon_bench.models.baselines import Baseline
from psilon_bench.models.linear import NormLinear
from psilon_bench.models.offers import (
    HasAliveUnits,
    HasCompact,
    HasInputBounds,
    HasLipschitzBound,
    HasMeasures,
    HasNormLayers,
    HasPathNorm,
    HasPlain,
    HasPowerSum,
    HasSlopes,
    HasStackableArguments,
    HasTaskKinds,
    HasUnits,
    HasWeightNorm,
    HasWeights,
    has_methods,
    unclaimed,
)
from psilon_bench.run.checks import prepare
from psilon_bench.run.display import Display
from psilon_bench.run.run import run_alone

OFFERS = {found for _, found in inspect.getmembers(offers, inspect.isclass) if found.__name__.startswith("Has")} - {
    NormLinear
}
MLPS = OFFERS - {HasMeasures, HasTaskKinds, HasStackableArguments}
CLAIMS = {  # by class, so that a network of a new class fails here until it is entered
    "MLP": MLPS,
    "FactorizedMLP": MLPS,
    "CReLUResNet": MLPS - {HasUnits, HasAliveUnits},
    "VGG": {HasWeights, HasPowerSum, HasPlain, HasCompact, HasUnits},
    "ResNet": {HasWeights, HasPowerSum, HasPlain},
    "DiagonalLinear": {HasWeights, HasWeightNorm, HasMeasures, HasTaskKinds, HasStackableArguments},
    "Ridge": {HasWeights, HasPathNorm, HasLipschitzBound, HasInputBounds, HasSlopes, HasTaskKinds},
    "RandomForest": {HasTaskKinds},
    "HistGBDT": {HasTaskKinds},
    "BasisPursuit": {HasWeights, HasMeasures, HasTaskKinds},
    **{name: {HasTaskKinds} for name in ("CatBoost", "LightGBM", "XGBoost", "EBM", "RealMLP", "TabM")},
}
SIZES = {"hidden": 6, "depth": 3, "blocks": [[3], [4, 5]], "channels": [3, 4], "per_stage": 1}
FEATURES, OUTPUTS, IMAGE = 5, 3, (1, 4, 4)


class Colliding(Plain):
    """An ordinary network with attributes by the names of what other networks offer, each of another meaning."""

    bounds = kinds = ("original",)
    stackable = tuned = True

    def __init__(self, num_features: int, num_outputs: int) -> None:
        super().__init__(num_features, num_outputs)
        self.q = 0.9
        self.weights = self.units = self.path_norm = self.lipschitz_bound = [0.25, 0.75]
        self.measures = self.input_bounds = self.alive_units = self.compact = self.plain = "a word"
        self.homogeneous = self.lipschitz_activation = self.unpaired = self.norm_layers = None

    def fit(self, x: Tensor) -> Tensor:
        return x

    def settle(self) -> None:
        raise AssertionError

    def power_sum(self) -> None:
        raise AssertionError


class Summed(Colliding, HasPowerSum):
    """The same, and it says that it sums the powers of its weights."""

    def power_sum(self, p: float) -> Tensor:  # type: ignore[override]
        first, last = ((layer.weight.abs() ** p).sum() for layer in (self.first, self.last))
        return first + last


MODELS = options("model")


def built(section: ComponentSection) -> nn.Module | Baseline:
    """A small network of this option, in float64, or a baseline, fitted where that needs no package of an extra."""
    arguments = {key: value for key, value in SIZES.items() if key in section.arguments}
    section = type(section).model_validate(section.model_dump(by_alias=True) | arguments)
    rows = torch.randn(4, FEATURES)
    model = section.build(num_features=FEATURES, num_outputs=OUTPUTS, input_shape=IMAGE, rows=rows)
    if isinstance(model, Baseline):
        if not model.packages:
            model.fit(model.kinds[0], Split(rows, torch.randn(4, 1)), seed=0)
        return model
    return model.double()


@pytest.mark.parametrize("name", MODELS)
def test_a_network_offers_what_its_class_claims(name: Any) -> None:
    """By isinstance, for every network of the package."""
    model = built(MODELS[name])
    assert {offer for offer in OFFERS if isinstance(model, offer)} == CLAIMS[type(model).__name__]


def of_weights(model: Any) -> None:
    for weight in model.weights():
        assert weight.dim() in (2, 4)
        assert weight.dtype == torch.float64


def of_power_sum(model: Any) -> None:
    total = sum((weight.detach().abs() ** 3).sum().item() for weight in model.weights())
    assert model.power_sum(3.0).shape == ()
    assert model.power_sum(3.0).item() == pytest.approx(total)


def of_path_norm(model: Any) -> None:
    assert set(model.bounds) <= set(get_args(offers.Bound))
    assert model.lipschitz_activation >= 1
    for bound in model.bounds:
        assert model.path_norm(bound).shape == ()
    assert torch.equal(model.path_norm(), model.path_norm("improved"))


def of_lipschitz_bound(model: Any) -> None:
    assert model.lipschitz_bound().shape == ()


def of_input_bounds(model: Any) -> None:
    assert model.input_bounds().shape == (FEATURES,)
    torch.testing.assert_close(model.input_bounds().sum(), model.lipschitz_bound())


def of_slopes(model: Any) -> None:
    layers = model.slope_layers()
    assert isinstance(model.piecewise_linear, bool)
    assert layers[0].positive.shape[1] == FEATURES
    for own in layers:
        assert own.positive.shape == own.negative.shape == own.magnitude.shape
        assert own.bias.shape == own.positive.shape[:1]
        assert (own.magnitude >= torch.maximum(own.positive.abs(), own.negative.abs()) - 1e-12).all()


def of_units(model: Any) -> None:
    layers = {id(layer) for pair in model.units() for layer in pair} | {id(layer) for layer in model.unpaired()}
    assert isinstance(model.homogeneous, bool)
    assert len(layers) == len(model.weights())
    for pair in model.units():
        assert len(pair.incoming.weight) == len(pair.incoming.bias) == pair.outgoing.weight.shape[1]


def of_weight_norm(model: Any) -> None:
    assert model.q in (None, 1, 2)


def of_norm_layers(model: Any) -> None:
    assert all(isinstance(layer, NormLinear) for layer in model.norm_layers())
    assert bool(model.norm_layers()) is (model.q is not None)


def of_plain(model: Any) -> None:
    x = torch.randn(7, *(IMAGE if hasattr(model, "classifier") else (FEATURES,))).double()
    plain = model.plain()
    torch.testing.assert_close(plain.eval()(x), model.eval()(x))
    assert {id(own) for own in plain.parameters()}.isdisjoint(map(id, model.parameters()))


def of_alive_units(model: Any) -> None:
    alive = model.alive_units()
    assert [mask.shape for mask in alive] == [(len(weight),) for weight in model.weights()[:-1]]
    assert {mask.dtype for mask in alive} == {torch.bool}


def of_compact(model: Any) -> None:
    compact, inputs = model.compact()
    assert isinstance(compact, HasWeights)
    assert isinstance(compact, nn.Module)
    assert num_parameters(compact) <= num_parameters(model.plain())
    assert inputs is None or (inputs.dtype == torch.int64 and inputs.dim() == 1)


def of_measures(model: Any) -> None:
    assert all(value.shape == () for value in model.measures().values())


def of_task_kinds(model: Any) -> None:
    assert set(model.kinds) <= set(get_args(Kind))


def of_stackable_arguments(model: Any) -> None:
    assert set(model.stackable) <= set(inspect.signature(type(model)).parameters)


PROMISES = {
    HasWeights: of_weights,
    HasPowerSum: of_power_sum,
    HasPathNorm: of_path_norm,
    HasLipschitzBound: of_lipschitz_bound,
    HasInputBounds: of_input_bounds,
    HasSlopes: of_slopes,
    HasUnits: of_units,
    HasWeightNorm: of_weight_norm,
    HasNormLayers: of_norm_layers,
    HasPlain: of_plain,
    HasAliveUnits: of_alive_units,
    HasCompact: of_compact,
    HasMeasures: of_measures,
    HasTaskKinds: of_task_kinds,
    HasStackableArguments: of_stackable_arguments,
}


@pytest.mark.parametrize("name", MODELS)
def test_every_promise_is_kept(name: Any) -> None:
    """The shapes and meanings that offers.py states, for each offer that a network makes."""
    model = built(MODELS[name])
    assert PROMISES.keys() == OFFERS
    for offer, check in PROMISES.items():
        if isinstance(model, offer):
            check(model)


def test_a_claim_without_its_methods_is_no_network() -> None:
    """Python refuses to build it and names what is missing."""

    class Empty(nn.Module, HasPathNorm):
        pass

    with pytest.raises(TypeError, match=r"abstract.*bounds.*lipschitz_activation.*path_norm"):
        Empty()  # type: ignore[abstract]


@pytest.fixture
def of_class(config: Any) -> Any:
    """of_class("user_networks.Plain", "reg=none"): the configuration of a short run with a network of this class."""

    def of_class(target: Any, *overrides: Any) -> Any:
        short = ("trainer.epochs=2", "trainer.eval_every=1", "tracking=none", "dataset=wine")
        model = ModelSection.model_validate({"name": "own", "_target_": target})
        return config(*short, *overrides).model_copy(update={"model": model})

    return of_class


@pytest.mark.parametrize("reg", ["none", "lasso_prox", "p_norm_decay"])
def test_names_of_another_meaning_change_nothing(of_class: Any, reg: Any) -> None:
    """A network with q, fit, weights, kinds, ... of its own trains, prunes nothing and reports as one without them."""
    display = Display(Console(quiet=True))
    targets = ("test_offers.Colliding", "user_networks.Plain")
    records = [run_alone(of_class(target, f"reg={reg}", "rerun=true"), display) for target in targets]
    assert [record.run["status"] for record in records] == ["finished"] * 2
    own, plain = (
        {key: value for key, value in record.run["metrics"].items() if not key.startswith("time")} for record in records
    )
    assert own == plain


def test_what_is_said_beside_such_names_counts(of_class: Any) -> None:
    """reg=l2 takes the network that derives from HasPowerSum, and still refuses the other with the reason."""
    display = Display(Console(quiet=True))
    assert run_alone(of_class("test_offers.Summed", "reg=l2"), display).run["status"] == "finished"
    assert final_measures(Summed(5, 2), 0.0) == {}
    with pytest.raises(UsageError, match=r"Colliding offers no power_sum\(p\) \(see HasPowerSum in .*offers\)"):
        prepare(of_class("test_offers.Colliding", "reg=l2"))


def test_a_network_with_a_method_fit_is_no_baseline(of_class: Any, config: Any) -> None:
    """Its title and its fingerprint count reg and optimizer."""
    own = of_class("test_offers.Colliding", "reg=none")
    assert not own.model.is_baseline
    assert own.model.stackable == ()
    assert own.title == "own none seed=0"
    assert own.fingerprint() != of_class("test_offers.Colliding", "reg=none", "optimizer.lr=0.123").fingerprint()
    assert config("model=ridge", "reg=none").model.is_baseline


class Forgetful(Plain):
    """A network that measures something, and does not say so among its bases."""

    def measures(self) -> dict[str, Tensor]:
        """Return nothing."""
        return {}


def test_a_method_of_an_offer_that_is_not_among_the_bases_is_said() -> None:
    """Once, by class, method and base; networks that say what they offer, or have only part of it, are quiet."""
    assert unclaimed(Forgetful(5, 2))[0].startswith("Forgetful has measures, but not HasMeasures among its bases")
    networks: list[Any] = [locate(section.target) for section in MODELS.values() if not section.is_baseline]
    missing = [
        (network, offer)
        for network in networks
        for offer in offers.OFFERS
        if has_methods(network, offer) and not issubclass(network, offer)
    ]
    assert missing == []
