"""A race: settings of a sweep train side by side, and at each rung those leave that cannot be the best any more.

Its runs are cut into heats, each a stack or a lone run, which train up to a rung: one after the other, or stacks side
by side on the cores of a CPU. Then the validation losses of all are compared, over the replicates that settings share,
and the runs of settings that leave are gathered out of their stacks. Rungs lie at the last evaluation at or before
certain shares of the epochs, so that those who stay are evaluated, and end, as without the race.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import pandas as pd
import torch

from psilon_bench.config.sections import HardwareSection, TrainerSection
from psilon_bench.config.settings import replicate_of, setting_of, setting_title
from psilon_bench.training.elimination import Elimination, eliminations
from psilon_bench.training.engine import OnRow, Outcome, Progress, RaceableEngine, Row
from psilon_bench.training.member import Member
from psilon_bench.training.raced_out import RacedOut
from psilon_bench.training.rungs import RUNGS, Rival, rung_epoch
from psilon_bench.training.side_by_side import Halted, SideBySide, most_at_once
from psilon_bench.training.substack import as_large_as, state_of_members

Build = Callable[[Sequence[Member]], RaceableEngine]


@dataclass(frozen=True)
class Race:
    """How runs race: the sizes of the heats, whose runs lie one after the other, and the rivals that are done."""

    heats: tuple[int, ...]
    rivals: tuple[Rival, ...] = ()

    def places(self) -> list[list[int]]:
        """Return the places of each heat's runs among all."""
        return [list(range(*ends)) for ends in pairwise(accumulate(self.heats, initial=0))]


class Hooks(NamedTuple):
    """What is called while heats train; see Engine.run."""

    on_row: OnRow
    on_epoch: Callable[[int], None]
    safe_point: Callable[[], None]


@dataclass
class Heat:
    """Runs that train as one stack; `members` are the places of those that are still there among all of the race."""

    places: list[int]  # of all that it began with
    members: list[int]
    engine: RaceableEngine
    settings: TrainerSection
    epoch: int = 0  # the last that is over

    @property
    def epochs(self) -> int:
        """Return how many epochs of the heat are over; when nobody is left all are."""
        return self.epoch if self.members else self.settings.all_epochs

    def advance(self, rung: float | None, hooks: Hooks) -> None:
        """Train up to a rung, without one to the end; rows are those of places in the race."""
        own = hooks._replace(on_row=lambda member, row: hooks.on_row(self.members[member], row))
        if rung is None:
            self.engine.run(*own)
        else:
            self.engine.advance(rung_epoch(self.settings, rung), *own)


class RacedTraining:
    """Trains heats from rung to rung; whoever leaves takes no step more, and leaves no network."""

    def __init__(self, members: Sequence[Member], race: Race, build: Build) -> None:
        """build: makes the engine of some members, always with the same precision."""
        self.entrants, self.build, self.rivals = members, build, list(race.rivals)
        self.settings = [setting_of(member.config) for member in members]
        self.replicates = [replicate_of(member.config) for member in members]
        self.titles = {rival.setting: rival.title for rival in self.rivals}
        self.titles |= {key: setting_title(one.config) for key, one in zip(self.settings, members, strict=True)}
        self.at_work: list[int] = []
        self.heats: list[Heat] = []
        for places in race.places():
            self.at_work = places
            self.heats.append(Heat(places, places, self.built(places), members[places[0]].config.trainer))
        self.precision, self.device = self.heats[0].engine.precision, self.heats[0].engine.device
        self.most_at_once = most_at_once(members[0].config.hardware)
        self.rung = 0  # the number of rungs that are over
        self.raced_out: dict[int, RacedOut] = {}
        self.hardware: HardwareSection | None = None

    def built(self, places: Sequence[int]) -> RaceableEngine:
        """Return a new engine of these runs."""
        return self.build([self.entrants[place] for place in places])

    @property
    def members(self) -> list[Progress]:
        """Return how far each run has come."""
        progress = {place: out.progress for place, out in self.raced_out.items()}
        for heat in self.heats:
            progress |= dict(self.running_progress(heat))
        return [progress[place] for place in range(len(self.entrants))]

    def running_progress(self, heat: Heat) -> list[tuple[int, Progress]]:
        """Return place and progress of the runs that a heat still has."""
        return list(zip(heat.members, heat.engine.members, strict=True)) if heat.members else []

    @property
    def epochs(self) -> int:
        """Return the epochs of all heats together."""
        return sum(heat.settings.all_epochs for heat in self.heats)

    def tune(self, hardware: HardwareSection) -> str | None:
        """Tune the steps of the first heat, and later of each before it trains."""
        self.hardware = hardware
        manned = [heat.engine for heat in self.heats if heat.members]
        return manned[0].tune(hardware) if manned else None

    def run(
        self,
        on_row: OnRow,
        on_epoch: Callable[[int], None] = lambda _: None,
        safe_point: Callable[[], None] = lambda: None,
    ) -> None:
        """Train all heats to the next rung, decide, and so on to the end; epochs are counted over all heats."""
        hooks = Hooks(on_row, on_epoch, safe_point)
        while self.rung < len(RUNGS):
            self.train_all(RUNGS[self.rung], hooks)
            self.decide()
        self.train_all(None, hooks)

    def train_all(self, rung: float | None, hooks: Hooks) -> None:
        """Train all heats to a rung, without one to their ends.

        Stacks, which draw no random numbers, train side by side, unless a step takes more threads than stacks are left.
        """
        heats = [heat for heat in self.heats if heat.members]
        stacks = [heat for heat in heats if len(heat.places) > 1]
        if self.most_at_once > 1 and len(stacks) >= max(2, self.threads_of_a_step(stacks)):
            self.train_side_by_side(stacks, rung, hooks)
            heats = [heat for heat in heats if len(heat.places) == 1]
        for heat in heats:
            self.at_work = heat.members
            if self.hardware is not None and len(self.heats) > 1:
                heat.engine.tune(self.hardware)
            heat.advance(rung, hooks._replace(on_epoch=partial(self.end_epoch, heat, hooks)))

    def threads_of_a_step(self, heats: Sequence[Heat]) -> int:
        """Return how many threads the steps of these heats take at most, each by itself."""
        numbers = []
        for heat in heats:
            if self.hardware is not None:
                heat.engine.tune(self.hardware)
            numbers.append(torch.get_num_threads())
        return max(numbers, default=1)

    def train_side_by_side(self, heats: Sequence[Heat], rung: float | None, hooks: Hooks) -> None:
        """Train heats at the same time, the largest first; where an epoch's end is to save their state, all rest."""
        side = SideBySide(hooks.safe_point)
        rests = heats[0].settings.checkpoint_every is not None

        def on_row(place: int, row: Row) -> None:
            with side.telling:
                hooks.on_row(place, row)

        def on_epoch(heat: Heat, epoch: int) -> None:
            try:
                with side.at_rest() if rests else side.telling:
                    self.end_epoch(heat, hooks, epoch)
            except Halted:
                heat.epoch = epoch
                raise

        heats = sorted(heats, key=lambda heat: -len(heat.members))
        own = [Hooks(on_row, partial(on_epoch, heat), side.safe_point) for heat in heats]
        works = [partial(heat.advance, rung, one) for heat, one in zip(heats, own, strict=True)]
        try:
            side.run(works, self.most_at_once)
        finally:
            self.at_work = heats[side.failed or 0].members

    def end_epoch(self, heat: Heat, hooks: Hooks, epoch: int) -> None:
        """Count an epoch of a heat, and tell how many of all heats are over."""
        heat.epoch = epoch
        hooks.on_epoch(sum(one.epochs for one in self.heats))

    def decide(self) -> None:
        """Compare all settings at the rung that was reached, and let the runs of those leave that lose."""
        config = self.entrants[0].config
        lost = eliminations(self.losses(), config.settings_kept or 1)
        for heat in self.heats:
            running = [place for place, progress in self.running_progress(heat) if progress.status == "running"]
            leaving = [place for place in running if self.settings[place] in lost]
            if leaving:
                self.at_work = heat.members
                self.take_out(heat, {place: lost[self.settings[place]] for place in leaving})
        self.rung += 1

    def losses(self) -> pd.DataFrame:
        """Return val/loss at the rung that was reached, by replicate and setting; rows and columns are sorted."""
        table: dict[str, dict[str, float | None]] = {}
        for rival in self.rivals:
            table.setdefault(rival.setting, {})[rival.replicate] = rival.losses[self.rung]
        for heat in self.heats:
            for place, progress in self.running_progress(heat):
                row = progress.best_row if heat.settings.select == "best" else progress.last_row
                loss = None if progress.status == "failed" else row["val/loss"]
                table.setdefault(self.settings[place], {})[self.replicates[place]] = loss
        return pd.DataFrame(table, dtype=float).sort_index(axis=0).sort_index(axis=1)

    def take_out(self, heat: Heat, lost: dict[int, Elimination]) -> None:
        """Go on with a heat without the runs that lost: a new engine gets the state of those that stay."""
        state, before = heat.engine.state(), self.running_progress(heat)
        stay = [number for number, place in enumerate(heat.members) if place not in lost]
        share = state["counters"][2] / len(heat.members)
        rung, epoch = RUNGS[self.rung], rung_epoch(heat.settings, RUNGS[self.rung])
        for place, progress in before:
            if place in lost:
                numbers = {"rung": rung, "epoch": epoch} | self.numbers(lost[place])
                self.raced_out[place] = RacedOut(progress.last_row, progress.best_row, share, numbers)
        heat.members = [heat.members[number] for number in stay]
        if stay:
            heat.engine = self.built(heat.members)
            heat.engine.load_state(as_large_as(heat.engine.state(), state_of_members(state, stay)))

    def numbers(self, lost: Elimination) -> dict[str, Any]:
        """Return the numbers of a comparison, with words for the best setting and no value that is infinite."""
        return asdict(lost) | {"best": self.titles[lost.best], "t": lost.t if math.isfinite(lost.t) else None}

    def state(self) -> dict[str, Any]:
        """Return all that decides the rest of the race: who is there, who left and why, and the state of each heat."""
        return {
            "rung": self.rung,
            "rivals": [asdict(rival) for rival in self.rivals],
            "raced_out": {place: asdict(out) for place, out in self.raced_out.items()},
            "members": [heat.members for heat in self.heats],
            "epochs": [heat.epoch for heat in self.heats],
            "heats": [heat.engine.state() if heat.members else {} for heat in self.heats],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from `state`, of the same heats."""
        self.rung, self.rivals = state["rung"], [Rival(**rival) for rival in state["rivals"]]
        self.titles |= {rival.setting: rival.title for rival in self.rivals}
        self.raced_out = {place: RacedOut(**out) for place, out in state["raced_out"].items()}
        saved = zip(self.heats, state["members"], state["epochs"], state["heats"], strict=True)
        for heat, members, epoch, trained in saved:
            heat.epoch = epoch
            if members != heat.members:
                heat.members = members
                heat.engine = self.built(members) if members else heat.engine
            if members:
                heat.engine.load_state(trained)

    def outcomes(self) -> Iterator[Outcome]:
        """Test the networks of those that stayed, and yield what came of each run, in their order."""
        for heat in self.heats:
            self.at_work = heat.members
            tested = heat.engine.outcomes() if heat.members else iter(())
            for place in heat.places:
                out = self.raced_out.get(place)
                yield next(tested) if out is None else out.outcome(heat.settings)
