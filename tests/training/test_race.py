"""A race is the same training without those who leave: who stays, stays the same, in any heats and across a stop."""

from typing import Any

import pytest
import torch
from stoppable import rows_of, saved
from typing_extensions import override
from user_networks import Counting

from psilon_bench.config.schema import ModelSection
from psilon_bench.run.checks import prepare
from psilon_bench.training.engines import build_engine
from psilon_bench.training.race import Race
from psilon_bench.training.rungs import RUNGS, rung_epoch

SHORT = ("trainer.epochs=8", "trainer.eval_every=2", "trainer.num_batches=2", "dataset=wine", "tracking=none")
RUN = (*SHORT, "metrics.lipschitz_points=1", "metrics.radii=[]", "optimizer.lr=0.05", "model.hidden=4", "model.depth=2")
KINDS = {
    "pnet": RUN,
    "best": (*RUN, "trainer.select=best", "trainer.batch_size=50", "scheduler=multistep"),
    "early": (*RUN, "trainer.early_stopping=2", "optimizer.lr=0.3", "scheduler=constant"),
    "decay": (*RUN, "model=mlp", "reg=p_norm_decay", "reg.p=0.8", "trainer.schedule=step", "scheduler=constant"),
    "pathprox": (*RUN, "model=mlp", "reg=pathprox", "optimizer=sgd", "optimizer.lr=0.1", "scheduler=constant"),
    "pruned": (*RUN, "pruner=l1_projection", "pruner.steps=7", "pruner.strength=2"),
    "tuned": (*RUN, "model=mlp", "pruner=magnitude", "pruner.amount=0.5", "trainer.prune_then_finetune=3"),
    "buffers": (*RUN, "reg=p_norm_decay"),
}
LAMS, SEEDS = (1e-3, 30.0, 2e-3), (3, 4, 5)
SIZE = 9
COMPOSED: dict[Any, Any] = {}  # half a second each
pytestmark = pytest.mark.unchecked_shapes


class Normed(Counting):
    """BatchNorm, and a buffer that each training step changes."""

    def __init__(self, num_features: int, num_outputs: int) -> None:
        super().__init__(num_features, num_outputs)
        self.norm = torch.nn.BatchNorm1d(6)

    @override
    def hidden(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(super().hidden(x))


@pytest.fixture
def raced(config: Any) -> Any:
    """raced("pnet", heats=(9,)): the race of three lambdas x three seeds, not yet run; without heats one stack."""

    def raced(kind: Any, heats: Any = None, *more: str, seeds: Any = SEEDS, lams: Any = LAMS) -> Any:
        asked = (*KINDS[kind], *more)
        if asked not in COMPOSED:
            COMPOSED[asked] = config(*asked)
        common = COMPOSED[asked]
        if kind == "buffers":
            target = {"name": "normed", "_target_": "test_race.Normed"}
            common = common.model_copy(update={"model": ModelSection.model_validate(target)})
        own = [
            common.model_copy(update={"seed": seed, "reg": common.reg.model_copy(update={"lam": lam})})
            for seed in seeds
            for lam in lams
        ]
        return build_engine([prepare(one) for one in own], heats and Race(heats))

    return raced


def ends(engine: Any) -> list[Any]:
    """What came of each run, without what takes time."""
    return [
        (one.status, {k: v for k, v in one.metrics.items() if "time" not in k}, one.tensors, one.details)
        for one in engine.outcomes()
    ]


def same(one: Any, other: Any, rel: float) -> None:
    """Outcomes that agree, to the last bit where rel is 0."""
    assert one[0] == other[0]
    assert one[1] == (other[1] if rel == 0 else pytest.approx(other[1], rel=rel, abs=rel))
    assert one[2].keys() == other[2].keys()
    for file in one[2]:
        for name, value in one[2][file].items():
            torch.testing.assert_close(value, other[2][file][name], rtol=rel, atol=rel)


@pytest.mark.parametrize(
    "kind", ["pnet", "decay", "buffers", *(pytest.param(one, marks=pytest.mark.slow) for one in ("early", "tuned"))]
)
def test_one_by_one_who_stays_is_a_lone_run(raced: Any, kind: Any) -> None:
    """Rows, metrics and networks, to the last bit; in float32, where rounding shows soonest."""
    asked = "hardware.precision=float32"
    race = raced(kind, (1,) * SIZE, asked)
    rows, results = rows_of(race), ends(race)
    place = min({*range(SIZE)} - race.raced_out.keys())
    assert race.raced_out
    alone = raced(kind, None, asked, seeds=SEEDS[place // 3 :][:1], lams=LAMS[place % 3 :][:1])
    assert rows_of(alone) == [rows[place]]
    same(results[place], ends(alone)[0], 0.0)


@pytest.mark.sampled(every=3)
@pytest.mark.parametrize(("kind", "precision"), [*((kind, "float64") for kind in KINDS), ("buffers", "float32")])
def test_in_a_stack_who_stays_is_a_member_of_the_whole_stack(raced: Any, kind: Any, precision: Any) -> None:
    """Rows, metrics and networks, to rounding: sums of a stack of another size are made in another order."""
    asked, rel = f"hardware.precision={precision}", {"float64": 1e-10, "float32": 1e-3}[precision]
    race, whole = raced(kind, (SIZE,), asked), raced(kind, None, asked)
    rows, expected = rows_of(race), rows_of(whole)
    stay = {*range(SIZE)} - race.raced_out.keys()
    assert 0 < len(stay) < SIZE
    results, others = ends(race), ends(whole)
    for place in stay:
        assert len(rows[place]) == len(expected[place])
        for one, other in zip(rows[place], expected[place], strict=True):
            assert one == pytest.approx(other, rel=rel, abs=rel)
        same(results[place], others[place], rel)


def test_who_leaves_has_its_rows_and_its_reason(raced: Any) -> None:
    """The setting leaves with all of its seeds at a rung, takes no step more, and its test rows stay unread."""
    race = raced("pnet", (SIZE,))
    rows, outcomes = rows_of(race), list(race.outcomes())
    assert [one.status for one in outcomes] == [member.status for member in race.members]
    worst = [place for place in range(SIZE) if place % 3 == 1]
    assert {*worst} <= race.raced_out.keys()
    for place in worst:
        numbers = race.raced_out[place].numbers
        assert numbers["epoch"] == rows[place][-1]["epoch"] == 8 * numbers["rung"]
        assert (numbers["pairs"], numbers["p"] < 0.05) == (3, True)
        first = next(other for other in range(3) if race.titles[race.settings[other]] == numbers["best"])
        at = len(rows[place]) - 1
        gaps = [rows[1 + step][at]["val/loss"] - rows[first + step][at]["val/loss"] for step in (0, 3, 6)]
        assert numbers["difference"] == pytest.approx(sum(gaps) / 3, rel=1e-12)
        assert outcomes[place].details == {"race": numbers}
        assert not outcomes[place].tensors
        assert not any(name.startswith("test/") for name in outcomes[place].metrics)
        assert outcomes[place].metrics["val/loss"] == rows[place][-1]["val/loss"]


def test_how_heats_are_cut_does_not_matter(raced: Any) -> None:
    """One stack, two, one by one: the same leave, with the same numbers; a step of a cut heat has fewer networks."""
    races = [raced("pnet", heats) for heats in ((SIZE,), (5, 4), (1,) * SIZE)]
    rows = [rows_of(race) for race in races]
    first, *others = races
    assert first.heats[0].engine.stack.size == SIZE - len(first.raced_out)
    for race, own in zip(others, rows[1:], strict=True):
        assert race.raced_out.keys() == first.raced_out.keys()
        for place, out in race.raced_out.items():
            numbers = first.raced_out[place].numbers
            assert out.numbers.pop("best") == numbers["best"]
            assert out.numbers == pytest.approx({key: numbers[key] for key in out.numbers}, rel=1e-9)
        for one, other in zip(own, rows[0], strict=True):
            assert [row["val/loss"] for row in one] == pytest.approx([row["val/loss"] for row in other], rel=1e-9)


@pytest.mark.sampled(every=3)
@pytest.mark.parametrize(
    ("kind", "stop_at"),
    [
        *[("pnet", 9), ("tuned", 17), ("tuned", 31)],
        *(pytest.param("pnet", step, marks=pytest.mark.slow) for step in (1, 25)),
    ],
)
def test_stopped_and_resumed_is_not_stopped(raced: Any, kind: Any, stop_at: Any) -> None:
    """Within a heat, between rungs, after the last one: to the last bit, decisions too."""
    heats = (5, 4)
    whole, first, second = (raced(kind, heats) for _ in range(3))
    expected = rows_of(whole)
    before = rows_of(first, stop_at)
    second.load_state(saved(first))
    after = rows_of(second)
    assert [one + other for one, other in zip(before, after, strict=True)] == expected
    assert second.members == whole.members
    assert {k: out.numbers for k, out in second.raced_out.items()} == {
        k: out.numbers for k, out in whole.raced_out.items()
    }
    for one, other in zip(ends(second), ends(whole), strict=True):
        same(one, other, 0.0)


def test_the_epochs_are_counted_to_their_end(raced: Any) -> None:
    """Over all heats, those too that nobody is left in; never backwards."""
    race = raced("pnet", (1,) * SIZE)
    counted: list[int] = []
    race.run(lambda member, row: None, counted.append)
    assert counted == sorted(counted)
    assert counted[-1] == race.epochs == SIZE * 8


def test_diverged_members_are_judged_by_the_pairs_left(raced: Any) -> None:
    """A setting that diverged everywhere has failed and is not raced out; the others race on."""
    race = raced("pnet", (SIZE,), lams=(1e-3, 30.0, 1e308))
    rows_of(race)
    status = [member.status for member in race.members]
    assert status[2::3] == ["failed"] * 3
    assert "raced out" in status
    assert {out.numbers["pairs"] for out in race.raced_out.values()} == {3}


def test_a_rung_lies_before_the_fine_tuning(raced: Any) -> None:
    """Its epochs are shares of the training alone."""
    own = raced("tuned", (SIZE,)).heats[0].settings
    assert [rung_epoch(own, share) for share in RUNGS] == [2, 4, 6]
    assert own.all_epochs == 11
