"""Groups of runs that are compared: data set x method, and within these the settings that were tried.

The runs themselves tell the grouping. A configuration key that varies within a group is tuned; the seeds and
the folds never are; keys that do not touch the numbers (names, places, devices, tracking) are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psilon_bench.report import datasets
from psilon_bench.report.keys import order, partition, value_text, varying
from psilon_bench.report.records import Run

METHOD = ("model.name", "reg.name", "pruner.name")
FOLLOWERS = "scheduler."  # its lengths and rates are those of trainer and optimizer

Values = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Setting:
    """One combination of tuned values with its finished runs, one per seed (and fold), in their order."""

    values: Values  # tuned key and value, as keys.value_text shows it
    runs: list[Run]
    unfinished: list[Run]  # seeds that have no finished run: the latest of each

    @property
    def raced_out(self) -> list[Run]:
        """Return the runs that left a race; a setting that has any was found worse than another and is never chosen."""
        return [run for run in self.unfinished if run.status == "raced out"]

    @property
    def text(self) -> str:
        """Return the tuned values in words, `lam=0.001 lr=0.01`; `as given` where no value was tuned."""
        brief = [key.rpartition(".")[2] for key, _ in self.values]
        names = brief if len(set(brief)) == len(brief) else [key for key, _ in self.values]
        return (
            " ".join(f"{name}={value_text(value)}" for name, (_, value) in zip(names, self.values, strict=True))
            or "as given"
        )

    def value(self, key: str) -> Any:
        """Return the value of a tuned key; None where the key was not tuned."""
        return dict(self.values).get(key)

    def numbers(self, metric: str) -> list[float]:
        """Return the metric of every finished run that has it."""
        return [run.metrics[metric] for run in self.runs if metric in run.metrics]


@dataclass(frozen=True)
class RunGroup:
    """All settings of one method on one data set."""

    dataset: str
    method: str
    kind: str
    settings: list[Setting]

    @property
    def runs(self) -> list[Run]:
        """Return the finished runs of all settings."""
        return [run for setting in self.settings for run in setting.runs]

    @property
    def every_run(self) -> list[Run]:
        """Return the finished runs, and the latest run of each seed that has no finished one."""
        return [run for setting in self.settings for run in setting.runs + setting.unfinished]

    @property
    def seeds(self) -> dict[tuple[Any, ...], str]:
        """Return the seeds (with split seeds and folds) that any setting was to have, and their words."""
        return {run.replicate: run.replicate_text for run in self.every_run}

    def tuned(self) -> list[str]:
        """Return the tuned keys."""
        return [key for key, _ in self.settings[0].values]


def groups_of(runs: Sequence[Run], by: Sequence[str] = ()) -> tuple[list[RunGroup], list[Run]]:
    """Return the groups by data set and method, and the runs that a later run of the same settings replaced.

    `by` are further keys that make a method instead of being tuned.
    """
    made: list[RunGroup] = []
    replaced: list[Run] = []
    for dataset, own in datasets.runs_by_dataset(runs).items():
        for method, members in partition(own, lambda run: method_name(run, by)).items():
            settings, old = settings_of(members, by)
            made.append(RunGroup(dataset, method, members[0].kind, settings))
            replaced += old
    return sorted(made, key=lambda group: (group.dataset, group.method)), replaced


def method_name(run: Run, by: Sequence[str]) -> str:
    """Return the name of a run's method, `pnet pathnorm`, with the values of the keys in `by`."""
    keys = METHOD[:1] if run.is_baseline else METHOD
    names = [str(run.params[key]) for key in keys if run.params.get(key) not in (None, "none")]
    own = [key for key in by if key in run.params]
    return " ".join(names + [f"{key.rpartition('.')[2]}={value_text(run.params[key])}" for key in own])


def settings_of(runs: Sequence[Run], by: Sequence[str]) -> tuple[list[Setting], list[Run]]:
    """Return the settings of one group, sorted by their values, and the runs that were replaced."""
    tuned = ("model.",) if runs[0].is_baseline else ("",)
    keys = [key for key in varying(runs) if key.startswith(tuned) and not key.startswith("dataset.") and key not in by]
    made, replaced = [], []
    visible = without_followers(runs, keys)
    for own in partition(runs, lambda run: tuple(run.params.get(key) for key in keys)).values():
        latest, old = latest_of(own)
        finished = [run for run in latest if run.status == "finished"]
        values = tuple((key, own[0].params.get(key)) for key in visible)
        made.append(Setting(values, finished, [run for run in latest if run.status != "finished"]))
        replaced += old
    return sorted(made, key=lambda setting: [order(value) for _, value in setting.values]), replaced


def without_followers(runs: Sequence[Run], keys: list[str]) -> list[str]:
    """Return the keys without those that the scheduler takes from others, as max_lr is optimizer.lr."""
    leaders = [key for key in keys if not key.startswith(FOLLOWERS)]
    return [key for key in keys if key in leaders or not follows(runs, key, leaders)]


def follows(runs: Sequence[Run], key: str, leaders: list[str]) -> bool:
    """Tell whether equal values of the leading keys always mean an equal value of this key."""
    by_leaders = partition(runs, lambda run: tuple(run.params.get(leader) for leader in leaders))
    return bool(leaders) and all(len({run.params.get(key) for run in own}) == 1 for own in by_leaders.values())


def latest_of(runs: Sequence[Run]) -> tuple[list[Run], list[Run]]:
    """Return for each seed its latest finished run, or its latest run where none finished; and all other runs."""
    latest, replaced = [], []
    for own in partition(runs, lambda run: run.replicate).values():
        *old, last = sorted(own, key=lambda run: (run.status == "finished", run.began))
        latest.append(last)
        replaced += old
    return sorted(latest, key=lambda run: [order(part) for part in run.replicate]), replaced
