"""Runs that train together, as one stack or as a race, and what is tried after they have failed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from psilon_bench.config.schema import Config
from psilon_bench.records.checkpoint import Checkpoint
from psilon_bench.records.record import Record


def identities(configs: Iterable[Config]) -> set[str]:
    """Return the identities of these runs."""
    return {config.identity.key for config in configs}


@dataclass(frozen=True)
class Attempt:
    """Runs to train as one stack or as a race, with how often they have failed and the records of the attempt before.

    heats: of a race the number of runs in each heat, which lie one after the other; empty for a stack. entrants: of a
    race all of its runs, those too that have ended.
    """

    configs: list[Config]
    failures: int = 0
    records: Sequence[Record] = ()
    heats: Sequence[int] = ()
    entrants: Sequence[Config] = ()

    @property
    def checkpoint(self) -> Checkpoint:
        """Return the checkpoint of these runs, whether there is one or not."""
        return Checkpoint.of(self.configs, self.heats)

    @property
    def kind(self) -> str:
        """Return what part of it trains at a time, in a word."""
        return "heat" if self.heats else "stack"

    def places(self) -> list[range]:
        """Return the places of the runs of each heat."""
        return [range(*ends) for ends in pairwise(accumulate(self.heats, initial=0))]

    def part(self, places: Sequence[int]) -> "Attempt":
        """Return the runs at these places, in as many heats as they are of."""
        sizes = [sum(place in heat for place in places) for heat in self.places()]
        records = [self.records[place] for place in places] if self.records else ()
        configs = [self.configs[place] for place in places]
        return replace(self, configs=configs, records=records, heats=[size for size in sizes if size])

    def only(self, keys: set[str]) -> "Attempt":
        """Return the runs with these identities."""
        return self.part([place for place, config in enumerate(self.configs) if config.identity.key in keys])

    def without(self, place: int) -> list["Attempt"]:
        """Return what is left without the run at a place, as a list: nothing where it was alone."""
        rest = [other for other in range(len(self.configs)) if other != place]
        return [replace(self.part(rest), failures=0)] if rest else []

    def halves(self, at_work: Sequence[int]) -> list["Attempt"]:
        """Return the halves of a stack; of a race the whole race, with the heat that these runs are of in halves."""
        if not self.heats:
            middle = len(self.configs) // 2
            return [self.part(range(middle)), self.part(range(middle, len(self.configs)))]
        heats: list[int] = []
        for heat in self.places():
            half = len(heat) // 2 if at_work[0] in heat else 0
            heats += [size for size in (half, len(heat) - half) if size]
        return [replace(self, heats=heats)]

    def forget(self) -> None:
        """Remove the checkpoint of a race that will not be tried again like this; a stack's names the stack itself."""
        if self.heats:
            self.checkpoint.remove()

    def one_by_one(self) -> "Attempt":
        """Return the race with every run in a heat of its own."""
        return replace(self, heats=[1] * len(self.configs))
