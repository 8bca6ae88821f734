"""The material of figures: choices and histories, each file read once; what cannot be used is kept apart."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np

from psilon_bench.records import places
from psilon_bench.records.run_json import RunJson, Unreadable
from psilon_bench.report.against import Comparison
from psilon_bench.report.escaping import visible
from psilon_bench.report.estimate import Estimate
from psilon_bench.report.grouping import RunGroup, Setting
from psilon_bench.report.histories import History, read_history
from psilon_bench.report.metric import Metric
from psilon_bench.report.records import Damaged, Run
from psilon_bench.report.search import SearchResult
from psilon_bench.report.selection import Choice, is_number

CURVE_POINTS = 400
Made = TypeVar("Made")


@dataclass(frozen=True)
class Material:
    """The choices, the metric, the searches, the comparisons and the files of records that a figure may show."""

    choices: Sequence[Choice]
    metric: Metric
    searches: Sequence[SearchResult] = ()
    comparisons: Sequence[Comparison] = ()  # with published numbers
    histories: dict[Path, History] = field(default_factory=dict)
    abouts: dict[Path, RunJson] = field(default_factory=dict)
    damaged: list[Damaged] = field(default_factory=list)  # files that cannot be read, found while drawing
    left_out: list[tuple[str, str]] = field(default_factory=list)  # why a network is not drawn, and its record

    @cached_property
    def datasets(self) -> dict[str, list[Choice]]:
        """Return the choices by data set, without those that have no usable run."""
        result: dict[str, list[Choice]] = {}
        for choice in self.choices:
            if choice.setting is not None:
                result.setdefault(choice.group.dataset, []).append(choice)
        return result

    @cached_property
    def methods(self) -> list[str]:
        """Return the methods of all data sets, sorted, so that a method has the same colour everywhere."""
        return sorted({choice.group.method for choice in self.choices})

    def history(self, run: Run) -> History:
        """Return the columns (rows,) of a run's history; empty where it does not exist or cannot be read."""
        if run.folder not in self.histories:
            try:
                self.histories[run.folder] = read_history(run.folder / places.HISTORY)
            except Unreadable as error:
                self.histories[run.folder] = {}
                self.damaged.append(Damaged(error.path, error.reason))
        return self.histories[run.folder]

    def about(self, run: Run) -> RunJson:
        """Return the whole run.json of a run."""
        if run.folder not in self.abouts:
            self.abouts[run.folder] = run.about()
        return self.abouts[run.folder]

    def tried(self, run: Run, make: Callable[[Run], Made | None]) -> Made | None:
        """Return what `make` makes of a run's network; None, and a sentence in `left_out`, where that fails."""
        try:
            return make(run)
        except Exception as error:
            self.left_out.append((visible(f"{type(error).__name__}: {error}")[:200], visible(run.folder.name)))
            return None

    def curve(self, setting: Setting, column: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the steps (T,) at which all runs have a value, and that column of their histories, (runs, T).

        At most CURVE_POINTS steps are kept, evenly spaced.
        """
        histories = [own for run in setting.runs if column in (own := self.history(run))]
        if not histories:
            return np.empty(0), np.empty((0, 0))
        steps = histories[0]["step"]
        for own in histories:
            steps = np.intersect1d(steps, own["step"][~np.isnan(own[column])])
        steps = (
            steps[np.unique(np.linspace(0, len(steps) - 1, CURVE_POINTS).round().astype(int))] if len(steps) else steps
        )
        return steps, np.stack([own[column][np.isin(own["step"], steps)] for own in histories])

    def along(self, group: RunGroup, key: str) -> list[tuple[float, Setting, Estimate]]:
        """Return each value of a tuned key with the best setting of this value and its validation metric."""
        best: dict[float, tuple[Setting, Estimate]] = {}
        for setting in group.settings:
            value, mean = setting.value(key), group.validation(setting, self.metric.name)
            if mean is None or not is_number(value):
                continue
            if value not in best or self.metric.sign * (mean.mean - best[value][1].mean) < 0:
                best[value] = (setting, mean)
        return [(value, *best[value]) for value in sorted(best)]


def numeric_keys(group: RunGroup) -> list[str]:
    """Return the tuned keys that have two or more numbers, lambda first."""
    keys = [key for key in group.tuned() if len({v for s in group.settings if is_number(v := s.value(key))}) > 1]
    return sorted(keys, key=lambda key: key != "reg.lam")
