"""Bounds of every value, by discovery, and what the optimizer and its schedule make of theirs before a run."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from psilon_bench.config.bounds import every
from psilon_bench.config.check import SUPPLIED, check
from psilon_bench.config.conf_folder import CONF
from psilon_bench.config.options import options
from psilon_bench.config.schema import Config
from psilon_bench.errors import UsageError
from psilon_bench.metrics.network import num_parameters
from psilon_bench.training import dry_run
from psilon_bench.training.dry_run import problem, rates
from psilon_bench.training.footprint import count_parameters

GROUPS = sorted({path.parent.name for path in CONF.glob("*/*.yaml")} & {*Config.model_fields})
ADAM = json.dumps({"name": "adam", "_target_": "torch.optim.Adam", "lr": 0.1})
CPU = torch.device("cpu")
MANY_OPTIONS = ("dataset", "model")  # and the same rules as the others
ODD: list[Any] = [float("nan"), float("-inf"), 10**23, True, {}, -1]


@pytest.mark.parametrize(
    "group",
    [
        pytest.param(group, marks=[pytest.mark.slow] * (group in MANY_OPTIONS))
        for group in (*GROUPS, "trainer", "metrics")
    ],
)
def test_no_number_may_be_anything(composed: Callable[..., Any], group: str) -> None:
    """Every number of every option: not finite, endless, true, and below 0 are refused, each by the key's name."""
    names: list[str | None] = [path.stem for path in sorted((CONF / group).glob("*.yaml"))]
    tried: set[tuple[str, str]] = set()  # options of one class have its bounds
    for option in names or [None]:
        values = OmegaConf.to_container(composed(*([f"{group}={option}"] if option else [])), resolve=True)
        own: dict[str, Any] = values[group]  # type: ignore[index, call-overload, assignment]
        keys = {(own.get("_target_", ""), key) for key, value in own.items() if type(value) in (int, float)} - tried
        tried |= keys
        for number, (_, key) in enumerate(sorted(keys)):
            for odd in ODD[number % 3 :: 3]:  # others for its neighbours
                changed = OmegaConf.create(values | {group: own | {key: odd}})  # type: ignore[operator]
                with pytest.raises(UsageError, match=rf"^{group}\.{key}=.* is not valid: it should be "):
                    pytest.fail(f"{option}: {group}.{key}={odd} {check(changed)}")


@pytest.mark.parametrize("text", ["a\nb", "\x1b[31m", "\0", "\udce4", "a" * 5000])
def test_no_text_may_be_anything(composed: Callable[..., Any], text: str) -> None:
    """Neither what a terminal would obey, nor what no file can hold."""
    cfg = composed()
    cfg.results_dir = text
    with pytest.raises(UsageError, match=r"^results_dir=.* is not valid: it should be "):
        check(cfg)


def test_values_of_lists_have_the_key_of_the_list() -> None:
    """A section's own values come first, so that what is interpolated from them is not blamed."""
    assert list(every({"b": {"c": [1, [2]]}, "a": 3, "d": {"e": {"f": None}}}, "")) == [
        ("a", 3),
        ("b.c", 1),
        ("b.c", 2),
        ("d.e.f", None),
    ]


def asked(steps: int, optimizer: str = ADAM, **scheduler: Any) -> str | None:
    """What is wrong with this scheduler, with Adam unless told otherwise."""
    return problem(optimizer, json.dumps({"name": "mine"} | scheduler), (2, 1), steps, "epoch", CPU, torch.float32)


SCHEDULE = "torch.optim.lr_scheduler."
QUIET = pytest.mark.filterwarnings("ignore:.*lr_scheduler:UserWarning", "ignore:The epoch parameter:UserWarning")


def of_every_schedule(test: Callable[..., Any]) -> Callable[..., Any]:
    """Of those that come with the package; what torch has to say of steps without training does not matter."""
    return QUIET(pytest.mark.parametrize("name", options("scheduler"))(test))


@settings(deadline=None)
@given(st.lists(st.integers(0, 60), max_size=3), st.sampled_from([0.0, 0.1, 2.0, 1e-200, 1e100]), st.integers(1, 60))
def test_a_rate_of_any_step_that_is_no_rate_is_found(milestones: list[int], gamma: float, steps: int) -> None:
    """The walk against the formula: lr gamma^(milestones that are over) is above 0 and finite in all steps, or not."""
    formula = [0.1 * gamma ** sum(at <= step for at in milestones) for step in range(steps)]
    wrong = [step for step, rate in enumerate(formula) if not 0 < rate < float("inf")]
    found = asked(steps, _target_=SCHEDULE + "MultiStepLR", milestones=milestones, gamma=gamma)
    assert (found is not None) == bool(wrong), found
    assert found is None or f"in epoch {wrong[0] + 1} of {steps};" in found


@of_every_schedule
def test_long_schedules_are_looked_at_all_over(
    monkeypatch: pytest.MonkeyPatch, config: Callable[..., Any], name: str
) -> None:
    """The steps that are looked at, the first one by one, the last among them, have the rates of the whole walk."""
    own = config(f"scheduler={name}", "trainer.epochs=3001")

    def walked(most: int) -> dict[int, float]:
        monkeypatch.setattr(dry_run, "MOST_STEPS", most)
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=own.optimizer.lr)
        return dict(rates(optimizer, own.scheduler.build(optimizer), 3001))

    whole = walked(10_000)
    assert list(whole) == list(range(3001))
    some = walked(500)
    assert set(range(500)) < set(some)
    assert 3000 in some
    assert 1000 <= len(some) <= 1101
    assert some == pytest.approx({step: whole[step] for step in some}, rel=1e-9)


@of_every_schedule
def test_no_schedule_takes_long_to_look_at(
    monkeypatch: pytest.MonkeyPatch, config: Callable[..., Any], name: str
) -> None:
    """A thousand million epochs: at most twice as many steps as a schedule has that is looked at whole."""
    monkeypatch.setattr(dry_run, "MOST_STEPS", 1000)
    own = config(f"scheduler={name}", "trainer.epochs=1000000000")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=own.optimizer.lr)
    assert sum(1 for _ in rates(optimizer, own.scheduler.build(optimizer), 10**9)) <= 2002


OPTIMIZERS = {
    ("SGD", "momentum", 0.999): None,
    ("SGD", "momentum", 1.0): "do not fade",
    ("SGD", "momentum", 3.5): "do not fade",
    ("SGD", "maximize", True): "goes up",
    ("SGD", "dampening", 7.0): "goes up",
    ("Adam", "eps", 0.0): "not finite",
    ("AdamW", "weight_decay", 1e9): "not finite|goes up",
    ("Adam", "capturable", True): "refuses its values",
    ("LBFGS", "max_iter", 2): "evaluates the objective itself",
    ("SparseAdam", "maximize", False): "refuses its values",
    ("Muon", "nesterov", True): "refuses its values",
    ("RAdam", "eps", 1e-8): None,
    ("NAdam", "eps", 1e-8): None,
    ("Rprop", "etas", (0.5, 1.2)): None,
    ("Adafactor", "d", 1.0): None,
    ("ASGD", "lambd", 1e-4): None,
}


@pytest.mark.parametrize(("name", "key", "value"), OPTIMIZERS)
def test_an_optimizer_is_tried(name: str, key: str, value: Any) -> None:
    """Finite, downhill, at rest where there is no slope; what torch finds wrong only in a step is found, too."""
    momentum = {"momentum": 0.9} if key == "dampening" else {}
    optimizer = json.dumps({"name": "mine", "_target_": f"torch.optim.{name}", "lr": 0.1, key: value} | momentum)
    found = asked(3, optimizer, _target_=SCHEDULE + "ConstantLR", factor=1.0, total_iters=0)
    expected = OPTIMIZERS[name, key, value]
    assert (found is None) if expected is None else (found is not None and any(e in found for e in expected.split("|")))


@pytest.mark.sampled(every=3)
@pytest.mark.parametrize("name", options("model"))
def test_parameters_are_counted_without_memory(name: str) -> None:
    """As many as the network has when it is built; none of a baseline."""
    section = options("model")[name]
    shape = (3, 32, 32)
    counted = count_parameters(section.model_dump_json(by_alias=True), 3072, 3, shape)
    with torch.device("meta"):
        built = section.build(num_features=3072, num_outputs=3, input_shape=shape)
    assert counted == (num_parameters(built) if isinstance(built, torch.nn.Module) else 0)
    assert counted > 0 or section.is_baseline


def test_sizes_beyond_all_memory_are_counted(config: Callable[..., Any]) -> None:
    """hidden = 10^8: 2 x 10^16 weights, at once."""
    section = config("model.hidden=100000000").model
    assert count_parameters(section.model_dump_json(by_alias=True), 30, 1, (30,)) == 20_000_003_400_000_005


def test_what_is_supplied_cannot_be_set(composed: Callable[..., Any]) -> None:
    """The arguments that the runner gives to a target are no keys."""
    for (section, names), value in zip(SUPPLIED.items(), itertools.cycle(["1", "[]"])):
        for name in names:
            with pytest.raises(UsageError, match=rf"^{section}\.{name} is not a known key"):
                check(composed(f"+{section}.{name}={value}"))
