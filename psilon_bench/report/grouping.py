"""Groups of runs that are compared: data set x method, and within these the settings that were tried.

The runs themselves tell the grouping. A configuration key that varies within a group is tuned; the seeds and
the folds never are; keys that do not touch the numbers (names, places, devices, tracking) are left out.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psilon_bench.config.repeated import FOLD_COUNT
from psilon_bench.metrics.choosing import is_of_test_rows
from psilon_bench.metrics.out_of_fold import FoldValue, is_root, out_of_fold, scale_of
from psilon_bench.report import datasets
from psilon_bench.report.datasets import is_cross_validated
from psilon_bench.report.estimate import Estimate, estimate
from psilon_bench.report.keys import may_be_tuned, order, partition, value_text, varying
from psilon_bench.report.records import Run

METHOD = ("model.name", "reg.name", "pruner.name")
FOLLOWERS = "scheduler."  # its lengths and rates are those of trainer and optimizer

Values = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Setting:
    """One combination of tuned values with its finished runs, one per seed (and fold), in their order.

    refits: of a cross-validation, the latest run of each seed that trained on all folds; None elsewhere. Such a setting
    is judged by its folds, and all that is said of the chosen network is of the refits.
    """

    values: Values  # tuned key and value, as keys.value_text shows it
    runs: list[Run]
    unfinished: list[Run]  # seeds that have no finished run: the latest of each
    refits: list[Run] | None = None

    @property
    def tested(self) -> list[Run]:
        """Return the finished runs of which test rows and networks are shown: of a cross-validation the refits."""
        return self.runs if self.refits is None else [run for run in self.refits if run.status == "finished"]

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
        """Return the metric of every finished run that has it; a metric of the test rows of those that are tested."""
        return numbers_of(self.tested if is_of_test_rows(metric) else self.runs, metric)

    def tested_numbers(self, metric: str) -> list[float]:
        """Return the metric of every tested run that has it."""
        return numbers_of(self.tested, metric)


def numbers_of(runs: Sequence[Run], metric: str) -> list[float]:
    """Return the metric of every run that has it."""
    return [run.metrics[metric] for run in runs if metric in run.metrics]


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
        return [run for one in self.settings for run in one.runs + one.unfinished + (one.refits or [])]

    @property
    def is_cross_validated(self) -> bool:
        """Tell whether settings are judged by their folds, and tested by refits."""
        return self.settings[0].refits is not None

    @property
    def seeds(self) -> dict[tuple[Any, ...], str]:
        """Return the seeds (with split seeds and folds) that any setting was to have, and their words."""
        return {r.replicate: r.replicate_text for one in self.settings for r in one.runs + one.unfinished}

    def validation(self, setting: Setting, metric: str) -> Estimate | None:
        """Return what a setting is judged by: the mean of a metric over runs, of a cross-validation out of folds.

        The latter has the standard deviation of a fold. None where no run has the metric, or a fold lacks it.
        """
        if not self.is_cross_validated:
            return estimate(setting.numbers(metric))
        runs = [run for run in setting.runs if metric in run.metrics]
        if len(runs) < 2 or {run.replicate for run in runs} != self.seeds.keys() or not have_all_folds(runs):
            return None
        values = [
            FoldValue(run.partition, run.metrics[metric], run.val_weight, scale_of(metric, run.target_scale))
            for run in runs
        ]
        pooled = out_of_fold(values, is_root(metric, self.kind))
        return Estimate(pooled.mean, pooled.sd, pooled.n)

    def tuned(self) -> list[str]:
        """Return the tuned keys."""
        return [key for key, _ in self.settings[0].values]


def have_all_folds(runs: Sequence[Run]) -> bool:
    """Tell whether all folds of each partition are there: of one that was stopped the last may have no record yet."""
    counts = Counter(run.partition for run in runs)
    return all(counts[run.partition] == run.params[FOLD_COUNT] for run in runs)


def groups_of(runs: Sequence[Run], by: Sequence[str] = ()) -> tuple[list[RunGroup], list[Run]]:
    """Return the groups by data set and method, and the runs that a later run of the same settings replaced.

    `by` are further keys that make a method instead of being tuned.
    """
    made: list[RunGroup] = []
    replaced: list[Run] = []
    for dataset, own in datasets.runs_by_dataset(runs).items():
        folded = len({run.is_refit for run in own}) > 1 or is_cross_validated(own)
        for method, members in partition(own, lambda run: method_name(run, by)).items():
            settings, old = settings_of(members, by, folded)
            made.append(RunGroup(dataset, method, members[0].kind, settings))
            replaced += old
    return sorted(made, key=lambda group: (group.dataset, group.method)), replaced


def method_name(run: Run, by: Sequence[str]) -> str:
    """Return the name of a run's method, `pnet pathnorm`, with the values of the keys in `by`."""
    keys = METHOD[:1] if run.is_baseline else METHOD
    names = [str(run.params[key]) for key in keys if run.params.get(key) not in (None, "none")]
    own = [key for key in by if key in run.params]
    return " ".join(names + [f"{key.rpartition('.')[2]}={value_text(run.params[key])}" for key in own])


def settings_of(runs: Sequence[Run], by: Sequence[str], folded: bool) -> tuple[list[Setting], list[Run]]:
    """Return the settings of one group, sorted by their values, and the runs that were replaced.

    folded: whether the runs are of a cross-validation, whose refits are kept apart.
    """
    keys = [key for key in varying(runs) if may_be_tuned(key, runs[0].is_baseline) and key not in by]
    made, replaced = [], []
    visible = without_followers(runs, keys)
    for own in partition(runs, lambda run: tuple(run.params.get(key) for key in keys)).values():
        latest, old = latest_of(own)
        refits = [run for run in latest if run.is_refit] if folded else None
        judged = [run for run in latest if not (folded and run.is_refit)]
        finished = [run for run in judged if run.status == "finished"]
        values = tuple((key, own[0].params.get(key)) for key in visible)
        made.append(Setting(values, finished, [run for run in judged if run.status != "finished"], refits))
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
