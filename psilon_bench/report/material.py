"""What figures are drawn from: the choices, and the histories of runs, read once."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from psilon_bench.report.grouping import Setting
from psilon_bench.report.metric import Metric
from psilon_bench.report.records import Run
from psilon_bench.report.selection import Choice

History = dict[str, np.ndarray]  # column -> values, all of one length


@dataclass(frozen=True)
class Material:
    """All that a figure may show."""

    choices: Sequence[Choice]
    metric: Metric
    read: dict[Path, History] = field(default_factory=dict)

    @cached_property
    def datasets(self) -> dict[str, list[Choice]]:
        """Choices by data set, those without a usable run left out."""
        result: dict[str, list[Choice]] = {}
        for choice in self.choices:
            if choice.setting is not None:
                result.setdefault(choice.group.dataset, []).append(choice)
        return result

    @cached_property
    def methods(self) -> list[str]:
        """Of all data sets, sorted: a method has the same colour everywhere."""
        return sorted({choice.group.method for choice in self.choices})

    def history(self, run: Run) -> History:
        """history.csv as columns; empty where there is none."""
        if run.folder not in self.read:
            self.read[run.folder] = columns_of(run.history())
        return self.read[run.folder]

    def curve(self, setting: Setting, column: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps (T,), and a column of the runs' histories, (runs, T), over the steps that all runs have."""
        histories = [own for run in setting.runs if column in (own := self.history(run))]
        if not histories:
            return np.empty(0), np.empty((0, 0))
        steps = histories[0]["step"]
        for own in histories[1:]:
            steps = np.intersect1d(steps, own["step"])
        return steps, np.stack([own[column][np.isin(own["step"], steps)] for own in histories])


def columns_of(lines: list[str]) -> History:
    """CSV lines, header first, as arrays."""
    if len(lines) < 2:
        return {}
    header, *rows = csv.reader(lines)
    return dict(zip(header, np.array(rows, dtype=float).T, strict=True))
