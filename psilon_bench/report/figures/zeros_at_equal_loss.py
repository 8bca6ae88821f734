"""Zeros at equal loss: the sparsest setting of each method that is about as good as the best, ranked over seeds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from psilon_bench.report.compare import LEVEL, Across, friedman_text
from psilon_bench.report.drawing import LETTER, Drawing, file_name, look, panels
from psilon_bench.report.estimate import estimate
from psilon_bench.report.figures.critical_difference import critical_difference
from psilon_bench.report.grouping import Setting
from psilon_bench.report.material import Material
from psilon_bench.report.metric import Metric, label
from psilon_bench.report.selection import Choice

PLACE = 31
ZEROS = "weight_sparsity"


@dataclass(frozen=True)
class Compared:
    """The settings of one data set that are compared, by method, and the methods that have none."""

    settings: dict[str, Setting]
    none: list[str]

    @property
    def zeros(self) -> pd.DataFrame:
        """Return the zeros of each method, seeds x methods, of the seeds that all methods have."""
        columns = {
            method: {run.replicate_text: run.metrics[ZEROS] for run in setting.tested if ZEROS in run.metrics}
            for method, setting in self.settings.items()
        }
        return pd.DataFrame(columns, dtype=float).dropna()


def draw(material: Material) -> Iterator[Drawing]:
    """Yield one figure for each data set with two methods or more of which one has zeros."""
    for dataset, choices in material.datasets.items():
        compared = compare(choices, material.metric)
        zeros = compared.zeros
        if zeros.shape[1] > 1 and len(zeros) and zeros.to_numpy().any():
            yield _figure(material, dataset, compared)


def compare(choices: Sequence[Choice], metric: Metric) -> Compared:
    """Return the sparsest setting of each method that is as good as the best of all.

    Its mean validation metric is within one standard deviation of a run of the best.
    """
    limits: list[tuple[float, float]] = []
    costs: dict[str, list[tuple[float, float, Setting]]] = {choice.group.method: [] for choice in choices}
    for choice in choices:
        for setting in choice.group.settings:
            judged, zeros = choice.group.validation(setting, metric.name), estimate(setting.tested_numbers(ZEROS))
            if judged and zeros:
                costs[choice.group.method].append((metric.sign * judged.mean, zeros.mean, setting))
                limits.append((metric.sign * judged.mean, judged.sd or 0.0))
    limit = sum(min(limits, default=(0.0, 0.0)))
    within = {
        method: [(zeros, -cost, place) for place, (cost, zeros, _) in enumerate(own) if cost <= limit]
        for method, own in costs.items()
    }
    settings = {method: costs[method][max(own)[2]][2] for method, own in within.items() if own}
    return Compared(settings, [method for method, own in within.items() if not own])


def _figure(material: Material, dataset: str, compared: Compared) -> Drawing:
    """Return the figure, the method of the best mean rank on top."""
    made = Across(Metric(ZEROS, "max"), compared.zeros, [])
    order = made.ranks.mean().sort_values(kind="stable")
    figure, (axis,) = panels(1, width=3.4 + LETTER * max(map(len, order.index)), height=0.9 + 0.28 * len(order))
    for place, method in enumerate(order.index):
        values = made.scores[method].to_numpy()
        axis.errorbar(values.mean(), place, xerr=np.std(values, ddof=1) if len(values) > 1 else None, capsize=2,
                      linestyle="none", **look(material.methods, method))  # fmt: skip
    axis.set_yticks(range(len(order)), [f"{method} ({rank:.2f})" for method, rank in order.items()])
    axis.invert_yaxis()
    axis.set(title=dataset, xlabel=label(ZEROS))
    points: list[list[Any]] = []
    for method, rank in order.items():
        setting = compared.settings[str(method)]
        test = estimate(setting.tested_numbers(material.metric.test))
        zeros = made.scores[method]
        points.append([method, setting.text, zeros.mean(), zeros.std(), rank, test and test.mean, len(zeros)])
    return Drawing(
        name=file_name("zeros_at_equal_loss", dataset),
        title=f"Zeros at equal {label(material.metric.name)}: {dataset}",
        caption=_caption(material, made, compared),
        figure=figure,
        columns=["method", "setting", ZEROS, "sd", "mean rank", material.metric.test, "n"],
        points=points,
    )


def _caption(material: Material, made: Across, compared: Compared) -> str:
    """Return what is shown, what the ranks say, and what came of the others."""
    said = [
        f"The sparsest setting of each method whose mean {label(material.metric.name)} is within one standard "
        f"deviation of the best of all; mean and standard deviation over {len(made.scores)} seeds, mean rank in "
        "brackets.",
        friedman_text(made).replace("data sets", "seeds"),
    ]
    if made.friedman is not None:
        ranks, distance = made.ranks.mean().sort_values(kind="stable"), critical_difference(made)
        close = [str(method) for method, rank in ranks.iloc[1:].items() if rank - ranks.iloc[0] < distance]
        verb = "are" if len(close) > 1 else "is"
        verdict = f"{', '.join(close)} {verb} not" if close else "all others are"
        said.append(
            f"Nemenyi's critical difference is {distance:.2f} ranks (level {LEVEL:g}): {verdict} told apart from "
            f"{ranks.index[0]}."
        )
    without = [str(method) for method in made.scores if not made.scores[method].any()]
    if without:
        said.append(f"Without any zeros: {', '.join(without)}.")
    if compared.none:
        said.append(f"Not as good at any setting: {', '.join(compared.none)}.")
    return " ".join(said)
