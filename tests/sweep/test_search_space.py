"""The space of a search: Hydra's grammar as Optuna's distributions, and trials as overrides that Hydra reads back."""

import warnings
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler

from psilon_bench.errors import UsageError
from psilon_bench.sweep.search_section import SearchSection, checked_section
from psilon_bench.sweep.search_space import SearchSpace, search_space

PLAIN = {
    "n_trials": 4,
    "batch_size": 2,
    "sampler": "tpe",
    "seed": 0,
    "objectives": None,
    "average": [],
    "params": None,
    "conditions": None,
}
parse = OverridesParser.create().parse_overrides


def section(**settings: Any) -> SearchSection:
    return checked_section(PLAIN | settings)


def space(*arguments: str, **settings: Any) -> SearchSpace:
    return search_space(section(**settings), list(arguments), parse)


def trials(of: SearchSpace, number: int, seed: int = 0) -> list[dict[str, str]]:
    """The overrides of random trials, by key."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=RandomSampler(seed=seed))
    return [dict(one.split("=", 1) for one in of.suggest(study.ask())) for _ in range(number)]


@pytest.mark.parametrize(
    ("text", "distribution"),
    [
        ("interval(0.5,2)", FloatDistribution(0.5, 2)),
        ("tag(log, interval(1e-5,1e-1))", FloatDistribution(1e-5, 1e-1, log=True)),
        ("int(interval(8,128))", IntDistribution(8, 128)),
        ("tag(log,int(interval(8,128)))", IntDistribution(8, 128, log=True)),
        ("range(1,8,3)", IntDistribution(1, 7, step=3)),
        ("range(8,1,-3)", IntDistribution(2, 8, step=3)),
        ("range(0,1,0.25)", FloatDistribution(0, 0.75, step=0.25)),
        ("32,64,32", CategoricalDistribution(["32", "64"])),
        ("null,[1,2],'a b'", CategoricalDistribution(["null", "[1,2]", "'a b'"])),
    ],
)
def test_the_grammar_of_overrides(text: str, distribution: Any) -> None:
    """What each form means: ends included, but for the stop of a range."""
    (parameter,) = space(f"a.b={text}").parameters
    assert parameter.distribution == distribution


RANGES = st.tuples(st.sampled_from([0, 1, -0.3, 0.1, 5]), st.integers(1, 9), st.sampled_from([1, 2, 0.1, 0.3, -0.7]))


@settings(deadline=None, max_examples=15)
@given(RANGES, st.integers(0, 99))
def test_numbers_of_a_range_are_those_of_a_grid(values: tuple[float, int, float], seed: int) -> None:
    """A trial's value is one that the grid sweeper has for the same range, written without a rounding error."""
    start, count, step = values
    text = f"a.b=range({start},{start + (count - 0.5) * step},{step})"
    (override,) = parse([text])
    grid = {round(value, 9) for value in override.sweep_iterator()}
    found = [trial["a.b"] for trial in trials(space(text), 6, seed)]
    assert {round(float(value), 9) for value in found} <= grid
    assert max(map(len, found)) <= len("-0.6")
    ends = {round(float(corner[0].partition("=")[2]), 9) for corner in space(text).corners()}
    assert ends == {min(grid), max(grid)}


CHAIN = {"c": "b=2", "b": "a=x,y", "d": "b=1"}


@settings(deadline=None, max_examples=15)
@given(st.permutations(["a=x,y,z", "b=1,2", "c=interval(0,1)", "d=int(interval(3,5))"]), st.integers(0, 999))
def test_conditions_hold_in_every_trial(arguments: list[str], seed: int) -> None:
    """In whatever order keys are given: b where a is x or y, c where b is there and 2, d where b is there and 1."""
    for trial in trials(space(*arguments, conditions=CHAIN), 10, seed):
        assert ("b" in trial) == (trial["a"] in ("x", "y"))
        assert ("c" in trial) == (trial.get("b") == "2")
        assert ("d" in trial) == (trial.get("b") == "1")
        assert "c" not in trial or 0 <= float(trial["c"]) <= 1


def test_corners_have_each_extreme_under_its_conditions() -> None:
    """Each value of a choice, both ends of numbers, each at least once; what they depend on is set so that they are."""
    found = space("a=z,y", "b=1,2", "c=interval(0,1)", "e=7", conditions={"b": "a=y", "c": "b=2"}).corners()
    assert [sorted(corner) for corner in found] == [
        ["a=z", "e=7"],
        ["a=y", "b=1", "e=7"],
        ["a=y", "b=2", "c=0.0", "e=7"],
        ["a=y", "b=2", "c=1.0", "e=7"],
    ]


def test_averaged_keys_run_in_each_trial() -> None:
    """All of their combinations, and in no trial's values."""
    of = space("a=1,2", "seed=0,1,2", "dataset=wine,digits", average=["dataset", "seed"])
    assert [parameter.key for parameter in of.parameters] == ["a"]
    assert of.jobs(["a=1"])[1] == ["a=1", "dataset=wine", "seed=1"]
    assert len(of.jobs(["a=1"])) == 6
    assert len(of.corners()) == 7  # all six with the first value, one with the second


def test_the_command_line_counts_before_the_preset() -> None:
    """A key of hydra.sweeper.params that the command line has, too, is what the command line says."""
    of = space("a=7", "+b=interval(0,1)", params={"a": "1,2", "c": "3,4", "d": 5})
    assert [parameter.key for parameter in of.parameters] == ["c", "+b"]
    assert of.fixed == ["a=7", "d=5"]


@pytest.mark.parametrize(
    ("arguments", "settings", "line"),
    [
        (["a=interval(1,1)"], {}, r"^a=interval\(1,1\) has no numbers in it: interval\(a,b\) takes finite numbers"),
        (["a=interval(2,1)"], {}, "has no numbers in it"),
        (["a=interval(0,inf)"], {}, "has no numbers in it"),
        (["a=interval(nan,1)"], {}, "has no numbers in it"),
        (["a=tag(log,interval(0,1))"], {}, r"has no logarithm at 0: .* takes numbers with 0 < a < b\.$"),
        (["a=tag(log,range(1,3))"], {}, r"log is for intervals\. Take tag\(log,interval\(a,b\)\)"),
        (["a=range(3,3)"], {}, r"has no values, so no run is asked for"),
        (["a=1"], {}, r"^The search has no key to search\. Give one some values: 'reg\.lam=tag\(log,"),
        (["seed=0,1"], {"average": ["seed"]}, r"^The search has no key to search"),
        (["seed=range(3)", "a=1,2"], {}, r"search for the luckiest seed\. Set hydra\.sweeper\.average=\[seed\]"),
        (["dataset.fold=0,1", "a=1,2"], {}, r"luckiest dataset\.fold\. Set hydra\.sweeper\.average=\[dataset\.fold\]"),
        (["+dataset.test_fold=0,1", "a=1,2"], {}, r"search for the luckiest \+dataset\.test_fold"),
        (["a=1,2"], {"average": ["seed"]}, r"average: seed has no values to average over\. Set seed=0,1,2, say\.$"),
        (["a=1,2", "seed=interval(0,1)"], {"average": ["seed"]}, r"average: seed has no values"),
        (["a=1,2"], {"conditions": {"b": "a=1"}}, r"conditions: b: a=1 is about a key that is not searched\. .* a\.$"),
        (["a=1,2", "b=3,4"], {"conditions": {"b": "a=5"}}, r"b: a=5 never holds: the values are 1,2\.$"),
        (["a=1,2", "b=3,4"], {"conditions": {"b": "c=5"}}, r"b: c=5 never holds: c is not searched\."),
        (["a=interval(0,1)", "b=3,4"], {"conditions": {"b": "a=1"}}, r"b: a=1 depends on a number\."),
        (["a=1,2", "b=3,4"], {"conditions": {"b": "a=1", "a": "b=3"}}, r"conditions go in a circle: . -> . -> .\."),
    ],
)
def test_values_that_cannot_be_searched(arguments: list[str], settings: dict[str, Any], line: str) -> None:
    """One line each."""
    with pytest.raises(UsageError, match=line):
        space(*arguments, **settings)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"n_trials": 0}, r"^hydra\.sweeper\.n_trials=0 is not valid: it should be greater than 0\.$"),
        ({"batch_size": 0}, r"^hydra\.sweeper\.batch_size=0 is not valid: it should be greater than 0\.$"),
        ({"n_trials": "ten"}, r"^hydra\.sweeper\.n_trials='ten' is not valid: it should be a valid integer\.$"),
        ({"sampler": "grid"}, r"sampler='grid' is not valid: it should be 'tpe', 'random' or 'nsga2'\.$"),
        ({"n_trial": 3}, r"^hydra\.sweeper\.n_trial is not a known key\. Did you mean n_trials\?$"),
        ({"objectives": {"val/loss": "min"}}, r"val/loss: min is no direction\. Set val/loss: minimize, or maximize"),
        ({"objectives": {"test/loss": "minimize"}}, r"test/loss is measured on the test rows.* Take val/loss\.$"),
        ({"objectives": {"lipschitz_local/max": "minimize"}}, r"/max is measured on the test rows.* Take val/loss\.$"),
        ({"objectives": ["val/loss"]}, r"it should be a mapping such as \{val/loss: minimize\}\.$"),
        ({"average": "seed"}, r"average='seed' is not valid: it should be a list of keys, such as \[seed\]\.$"),
        ({"grids": {"a": {"model": "pnet"}}}, r"^hydra\.sweeper\.grids, the arms of a preset, are grids and no space"),
    ],
)
def test_settings_that_are_wrong(settings: dict[str, Any], line: str) -> None:
    """One line each, with the key."""
    with pytest.raises(UsageError, match=line):
        section(**settings)


def test_a_fixed_key_may_meet_a_condition() -> None:
    """What the command line fixes where a preset searches it: the key is searched always."""
    of = space("a=2", params={"a": "1,2", "b": "3,4"}, conditions={"b": "a=2"})
    assert all("b" in trial for trial in trials(of, 5))


def test_optuna_takes_no_offence() -> None:
    """No warning of Optuna's comes of a range whose end is no whole number of steps away: warnings are errors here."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ask: Callable[[], object] = lambda: trials(space("a=range(0,1,0.3)", "b=range(0,10,3)"), 5)  # noqa: E731
        ask()
