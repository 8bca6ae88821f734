"""A union of grids: each arm is what a command line of its own would run, and the command line has the last word."""

import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig

from psilon_bench.config.check import check
from psilon_bench.config.conf_folder import CONF
from psilon_bench.errors import UsageError
from psilon_bench.sweep.composer import Composer
from psilon_bench.sweep.grids import number_of_values, product, selected_arms, union

ARMS = {
    "pnet": {"model": "pnet", "reg": "pathnorm", "reg.lam": "0.1,0.2,0.3"},
    "snet": {"model": "snet", "reg": "l2", "reg.lam": "0.1,0.2", "optimizer.lr": "0.5"},
    "plain": {"model": "mlp", "reg": "none", "seed": "7"},
}
COMMON = {"seed": "0,1"}
PRESET = """# @package _global_
name: two
hydra:
  sweeper:
    params: {seed: "0,1"}
    grids:
      pnet: {model: pnet, reg: pathnorm, reg.lam: "1e-3,1e-2"}
      snet: {model: snet, reg: l2, reg.lam: "1e-3,1e-2,0.1"}
"""


@pytest.fixture
def jobs() -> Any:
    """jobs("seed=0", arms=["pnet"]): the jobs of the arms above, each as a set of overrides."""
    parse = OverridesParser.create().parse_overrides

    def jobs(*arguments: Any, arms: Any = None, grids: Any = ARMS, common: Any = COMMON) -> Any:
        found = union(selected_arms(grids, arms), common, list(arguments), parse)
        assert len({tuple(job) for job in found}) == len(found)
        return [set(job) for job in found]

    return jobs


def test_arms_are_products_one_after_the_other(jobs: Any) -> None:
    """2 seeds x 3 lambdas, 2 seeds x 2 lambdas, and an arm with a seed of its own, which counts."""
    found = jobs()
    assert len(found) == 6 + 4 + 1
    assert found[0] == {"seed=0", "model=pnet", "reg=pathnorm", "reg.lam=0.1"}
    assert found[6] == {"seed=0", "model=snet", "reg=l2", "reg.lam=0.1", "optimizer.lr=0.5"}
    assert found[10] == {"seed=7", "model=mlp", "reg=none"}
    assert all(sum(one.startswith("seed=") for one in job) == 1 for job in found)


def test_an_arm_may_take_a_key_out(jobs: Any) -> None:
    """~key: what the others sweep, and the preset sets, is no key of that arm."""
    grids = {"net": {"model": "diagonal_linear"}, "program": {"model": "basis_pursuit", "~model.alpha": None}}
    found = jobs(grids=grids, common={"seed": "0,1", "model.alpha": "0.1,0.2,0.3"})
    assert found[6:] == [{f"seed={seed}", "model=basis_pursuit", "~model.alpha=null"} for seed in (0, 1)]
    assert len(found) == 6 + 2


def test_the_command_line_wins(jobs: Any) -> None:
    """seed=0 shortens every arm; what it sweeps replaces an arm's values; other keys join each arm."""
    assert len(jobs("seed=0")) == 3 + 2 + 1
    assert all("seed=0" in job for job in jobs("seed=0"))
    assert [job & {"reg.lam=5", "reg.lam=6"} for job in jobs("reg.lam=5,6", "seed=0")] == [
        {"reg.lam=5"},
        {"reg.lam=6"},
    ] * 3
    assert all("trainer.epochs=3" in job for job in jobs("trainer.epochs=3"))


VALUES = st.sampled_from(["1", "1,2,3", "choice(1,2)", "[1,2]", "[1],[2]", "null,1", "tag(t,choice(4,5))", "sort(2,1)"])
START, STOP, STEP = st.integers(-5, 5), st.integers(-5, 5), st.sampled_from([1, 2, -1, 0.5, -0.25])
RANGES = st.builds("range({},{},{})".format, START, STOP, STEP)


@settings(deadline=None)
@given(st.lists(st.lists(VALUES | RANGES, max_size=3), min_size=1, max_size=2))
def test_jobs_are_counted_without_making_them(arms: list[list[str]]) -> None:
    """The number that is refused or not is that of the jobs there would be, equal ones counted twice."""
    parse = OverridesParser.create().parse_overrides
    every = [parse([f"key{place}={value}" for place, value in enumerate(values)]) for values in arms]
    jobs = sum(len(product(overrides)) for overrides in every)
    if all(product(overrides) for overrides in every):
        assert sum(math.prod(map(number_of_values, overrides)) for overrides in every) == jobs
        return
    with pytest.raises(UsageError, match=r"^key\d=range\(.*\) has no values, so no run is asked for"):
        [number_of_values(override) for overrides in every for override in overrides]


def test_more_jobs_than_a_sweep_may_have(jobs: Any) -> None:
    """All arms count together; the line has the number."""
    with pytest.raises(UsageError, match=r"^A sweep has at most 100,000 runs, but this one has 100,002\. Sweep over "):
        jobs(grids={"a": {"seed": "range(50001)"}, "b": {"seed": "range(50001)"}})
    with pytest.raises(UsageError, match=r"but this one has 2e\+300\. Sweep over fewer values\.$"):
        jobs("reg.lam=1,2", "seed=range(0,1e300)", grids=None)


@pytest.mark.parametrize("given", ["++reg.lam=5", "+reg.lam=5", "~reg.lam"])
def test_however_a_key_is_set_it_is_that_key(jobs: Any, given: Any) -> None:
    """No arm's values stand beside a forced, added or deleted one of the command line: 2 + 2 + 1 jobs."""
    found = jobs(given)
    assert len(found) == 5
    assert not any(one.startswith("reg.lam=0") for job in found for one in job)


def test_no_job_twice(jobs: Any) -> None:
    """Arms that the command line makes equal, or that overlap, run once, in the place of the first."""
    assert len(jobs("model=mlp", "reg=l2", "reg.lam=0.1", "optimizer.lr=1", "seed=3,4")) == 2
    assert jobs("seed=0", grids={"a": {"reg.lam": "1,2"}, "b": {"reg.lam": "2,3"}}) == [
        {"seed=0", f"reg.lam={lam}"} for lam in (1, 2, 3)
    ]


def test_without_grids_it_is_one_product(jobs: Any) -> None:
    """What Hydra's own sweeper does with params and arguments."""
    assert jobs("reg.lam=1,2", grids=None) == [{f"seed={seed}", f"reg.lam={lam}"} for seed in (0, 1) for lam in (1, 2)]


def test_values_that_are_no_text(jobs: Any) -> None:
    """Numbers, switches, nothing and lists are one value each; an arm without keys is the command line alone."""
    arm = {"a": 1, "b": 0.5, "c": True, "d": None, "e": [1, 2]}
    assert jobs(grids={"one": arm}, common={}) == [{"a=1", "b=0.5", "c=True", "d=null", "e=[1,2]"}]
    assert jobs("seed=1,2", grids={"one": None}, common={}) == [{"seed=1"}, {"seed=2"}]
    with pytest.raises(UsageError, match=r"^hydra\.sweeper\.grids\.one=3 is not valid: it should be keys with values"):
        jobs(grids={"one": 3})


def test_some_arms(jobs: Any) -> None:
    """In the order asked for; one needs no brackets."""
    assert [len(jobs(arms=arms)) for arms in (["snet"], "plain", ["plain", "pnet"])] == [4, 1, 7]
    assert "seed=7" in jobs(arms=["plain", "pnet"])[0]


@pytest.mark.parametrize(
    ("arms", "grids", "line"),
    [
        (["pnt"], ARMS, r"^hydra\.sweeper\.arms=pnt is not an arm of this sweep\. Did you mean pnet or snet"),
        (["pnet", "forest"], ARMS, r"arms=forest is not an arm of this sweep\. Choose from: plain, pnet, snet\.$"),
        ([], ARMS, r"arms=\[\] is not an arm of this sweep\. Choose from: plain, pnet, snet\.$"),
        (
            "pnet",
            None,
            r"arms=pnet is not an arm of this sweep\. It has none: take a preset with hydra\.sweeper\.grids\.$",
        ),
    ],
)
def test_an_arm_that_is_none(arms: Any, grids: Any, line: Any) -> None:
    """One line with the nearest or all names."""
    with pytest.raises(UsageError, match=line):
        selected_arms(grids, arms)


@pytest.mark.slow
def test_arms_are_composed_once_each_and_rightly(jobs: Any) -> None:
    """The composer's copies are Hydra's own compositions, whether a choice comes from an arm or the command line."""
    calls = []
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        own = partial(compose, "config", return_hydra_config=True)

        def counted(job: list[str]) -> DictConfig:
            calls.append(job)
            return own(job)

        composer = Composer(counted)
        for job in map(sorted, jobs("dataset=wine", "seed=range(2)")):
            found, expected = composer(job), own(job)
            assert {key: found[key] for key in found} == {key: expected[key] for key in found}
    assert len(calls) == 3


@pytest.mark.slow
def test_a_preset_of_arms(psilon: Any, tmp_path: Path) -> None:
    """From the command line: one arm with values of the command line's own, the plan of all arms, and a wrong arm."""
    (tmp_path / "presets" / "experiment").mkdir(parents=True)
    (tmp_path / "presets" / "experiment" / "two.yaml").write_text(PRESET)
    preset = ("-m", f"hydra.searchpath=[file://{tmp_path}/presets]", "+experiment=two", "tracking=none")
    code, text = psilon(*preset, "seed=0", "reg.lam=1e-3,2e-3", "hydra.sweeper.arms=snet")
    assert code == 0, text
    assert "snet l2 lam=0.002 seed=0" in text
    assert "1 of 10 runs are done in results/two" in psilon(*preset, "plan=true")[1]
    code, text = psilon(*preset, "hydra.sweeper.arms=[snet,forest]")
    assert code == 2
    assert text.splitlines()[-1].startswith("psilon-run: hydra.sweeper.arms=forest is not an arm of this sweep.")


PRESETS = sorted(path.stem for group in ("experiment", "suite") for path in CONF.glob(f"{group}/*"))


@pytest.mark.sampled(every=2)
@pytest.mark.parametrize(
    "preset",
    [pytest.param(name, marks=[pytest.mark.slow] if number % 12 else []) for number, name in enumerate(PRESETS)],
)
def test_the_arms_of_every_preset(preset: Any) -> None:
    """The first and the last job of each arm is a valid configuration; a twelfth of the presets are not slow."""
    group = "suite" if (CONF / "suite" / f"{preset}.yaml").exists() else "experiment"
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        sweeper = compose("config", [f"+{group}={preset}"], return_hydra_config=True).hydra.sweeper
        composer = Composer(partial(compose, "config", return_hydra_config=True))
        for arm in selected_arms(sweeper.grids, None):
            jobs = union([arm], sweeper.params or {}, [f"+{group}={preset}"], OverridesParser.create().parse_overrides)
            for job in (jobs[0], jobs[-1]):
                check(composer(job))
