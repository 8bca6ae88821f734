"""Which runs of a sweep race with each other, and what must hold for that, before the first of them starts."""

from collections import Counter
from collections.abc import Sequence

from psilon_bench.config.identity import digest
from psilon_bench.config.schema import Config
from psilon_bench.config.settings import replicate_of, setting_of, setting_title
from psilon_bench.errors import UsageError
from psilon_bench.machine.device import device_settings
from psilon_bench.machine.memory import check_free
from psilon_bench.run.checks import prepare
from psilon_bench.sweep.attempt import Attempt
from psilon_bench.sweep.memory import race_bytes
from psilon_bench.sweep.placement import EqualGroups, Placement, place_here, timing_key, with_step_time
from psilon_bench.sweep.process_pool import ProcessPool
from psilon_bench.sweep.stack_shapes import stacks
from psilon_bench.training.elimination import FEWEST_PAIRS
from psilon_bench.training.rungs import RUNGS, rung_epoch

OFF = "or set race=false"


def check_races(configs: Sequence[Config]) -> None:
    """Raise UsageError where race=true asks for something that is no race; baselines train beside it."""
    if not configs[0].race:
        return
    entered = by_race(configs)
    if not entered:
        raise UsageError(f"race=true compares networks while they train, and these are baselines. Add one, {OFF}.")
    for entrants in entered.values():
        check_entrants(entrants)


def check_entrants(configs: Sequence[Config]) -> None:
    """Raise UsageError where a race has one setting or one replicate, or a run no evaluation before its first rung."""
    name = configs[0].dataset.name
    settings = Counter(setting_of(config) for config in configs)
    if len(settings) == 1:
        raise UsageError(
            f"race=true compares settings, and dataset={name} has one alone ({setting_title(configs[0])}). "
            f"Give several, such as reg.lam=1e-3,1e-2, {OFF}."
        )
    replicates = {replicate_of(config) for config in configs}
    if len(replicates) < FEWEST_PAIRS:
        raise UsageError(
            f"race=true compares settings over seeds, splits and folds, and dataset={name} has {replicates.pop()} "
            f"alone. Give several, such as seed=0,1,2, {OFF}."
        )
    for config in configs:
        trainer = config.trainer
        if not rung_epoch(trainer, RUNGS[0]):
            last = int(RUNGS[0] * trainer.epochs)
            remedy = f"trainer.eval_every={last}" if last else f"trainer.epochs={int(1 / RUNGS[0])} or more"
            raise UsageError(
                f"race=true compares at {RUNGS[0]:.0%} of trainer.epochs={trainer.epochs} first, and "
                f"trainer.eval_every={trainer.eval_every} has no evaluation before. Set {remedy}, {OFF}."
            )


def by_race(configs: Sequence[Config]) -> dict[str, list[Config]]:
    """Return the networks among these runs by race: those on the same data, on the same hardware.

    Their losses can be compared; what differs beside the values of data and hardware is a setting.
    """
    entered: dict[str, list[Config]] = {}
    for config in configs:
        if enters(config):
            entered.setdefault(race_key(config), []).append(config)
    return entered


def enters(config: Config) -> bool:
    """Return whether a run takes part in a race: a network with validation rows, neither a baseline nor a refit."""
    return not (config.model.is_baseline or config.dataset.is_refit)


def race_key(config: Config) -> str:
    """Return a hash of what the runs of a race have in common: data but for the split, hardware, checkpoints."""
    return digest([config.dataset.rows(), config.hardware.model_dump(), config.trainer.checkpoint_every])


def races(configs: Sequence[Config], to_do: Sequence[Config]) -> list[Attempt]:
    """Return a race for each data set that has runs to do, in heats as large as their placement makes stacks.

    configs: all runs of the sweep, with which those to do are compared. UsageError where a race has no room.
    """
    entrants = by_race(configs)
    placed: dict[tuple[str, int], Placement] = {}
    made = []
    for key, runs in by_race(to_do).items():
        heats: list[list[Config]] = []
        for group in by_structure(runs):
            kind = timing_key(group)
            if kind not in placed:
                placed[kind] = place_here(group)
            heats += stacks(group, placed[kind].size)
        check_room_for(heats)
        sizes = [len(heat) for heat in heats]
        made.append(Attempt([config for heat in heats for config in heat], heats=sizes, entrants=entrants[key]))
    return made


def by_structure(configs: Sequence[Config]) -> list[list[Config]]:
    """Return the runs in groups that could be stacks."""
    groups: dict[str, list[Config]] = {}
    for config in configs:
        groups.setdefault(config.structure(), []).append(config)
    return list(groups.values())


def check_room_for(heats: Sequence[Sequence[Config]]) -> None:
    """Raise UsageError where the networks of a race, which are all in memory at once, take more than is free."""
    largest = {heat[0].structure(): heat for heat in sorted(heats, key=len)}
    members = {structure: prepare(heat[0]) for structure, heat in largest.items()}
    number = sum(len(heat) for heat in heats)
    check_free(
        race_bytes([(members[heat[0].structure()], heat) for heat in heats]),
        f"race=true keeps {number} networks at once, which",
        f"Race fewer settings at a time, {OFF}.",
        device_settings(heats[0][0].hardware).device,
    )


def raced_placements(attempt: Attempt, pool: ProcessPool) -> list[tuple[list[Config], Placement]]:
    """Return the groups of equal structure in a race, with the size of their largest heat and the time of a step."""
    size = {attempt.configs[heat[0]].structure(): 0 for heat in attempt.places()}
    for heat in attempt.places():
        structure = attempt.configs[heat[0]].structure()
        size[structure] = max(size[structure], len(heat))
    made = []
    for group in by_structure(attempt.configs):
        placement = Placement(size[group[0].structure()], None, raced=True)
        made.append((group, with_step_time(EqualGroups(group, placement=placement), pool)))
    return made
