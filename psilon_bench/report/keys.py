"""Keys of the flat configuration: which keys differ between runs and affect their numbers, and how values are shown."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

from psilon_bench.config.repeated import INPUT_KEYS, REPLICATES
from psilon_bench.report.records import Run

WITHOUT_EFFECT = (
    "name",
    "results_dir",
    "plan",
    "rerun",
    "race",
    "race_keep",
    "cv",
    "cv_refit",
    "ensemble",
    "retries",
    "trainer.checkpoint_every",
    "dataset.offline",
)
WITHOUT_EFFECT_SECTIONS = ("tracking.", "hardware.")  # but for hardware.precision


def varying(runs: Sequence[Run]) -> list[str]:
    """Return the keys that have several values among these runs, in the order of the configuration; no seed or fold."""
    values: dict[str, set[Any]] = defaultdict(set)
    for run in runs:
        for key, value in run.params.items():
            values[key].add(value)
    return [key for key, seen in values.items() if len(seen) > 1 and has_effect(key)]


def has_effect(key: str) -> bool:
    """Tell whether a key is part of a setting: it affects the numbers and is no seed or fold."""
    if key in REPLICATES or key in WITHOUT_EFFECT or key.endswith("_target_"):
        return False
    return key == "hardware.precision" or not key.startswith(WITHOUT_EFFECT_SECTIONS)


def may_be_tuned(key: str, is_baseline: bool) -> bool:
    """Tell whether a key is chosen within a method: of a baseline those of its model, and how inputs are made."""
    return key in INPUT_KEYS or (key.startswith("model.") if is_baseline else not key.startswith("dataset."))


def partition(runs: Iterable[Run], key: Callable[[Run], Hashable]) -> dict[Any, list[Run]]:
    """Return runs by key, in the order in which the keys first appear."""
    result: dict[Hashable, list[Run]] = defaultdict(list)
    for run in runs:
        result[key(run)].append(run)
    return dict(result)


def order(value: Any) -> tuple[int, float, str]:
    """Return a sorting key that puts None first, then numbers, then words."""
    if value is None:
        return 0, 0.0, ""
    return (1, value, "") if isinstance(value, int | float) else (2, 0.0, str(value))


def value_text(value: Any) -> str:
    """Return a value as the command line writes it."""
    return f"{value:g}" if isinstance(value, float) else str(value)
